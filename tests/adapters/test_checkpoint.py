"""Checkpoints: whole, verified, exact."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import LoraConfig

from weft.adapters.checkpoint import (
    FILES,
    Snapshot,
    find_newest,
    read_checkpoint,
    write_checkpoint,
)
from weft.adapters.errors import ContentCorrupt

from .chats import BASE_DIGEST

NAME = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
SNAPSHOT = Snapshot(
    step=12,
    plan="sha256:plan",
    tensors={NAME: torch.tensor([[1.0, 1e-30]])},
    first_moments={NAME: torch.tensor([[0.1, 0.2]])},
    second_moments={NAME: torch.tensor([[0.3, 0.4]])},
    losses=(2.5, 0.1 + 0.2),
    eval_losses=((10, 1 / 3),),
)
CONFIG = LoraConfig(r=1, target_modules=["q_proj"])


def test_checkpoint_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = write_checkpoint(tmp_path, SNAPSHOT, CONFIG, base_digest=BASE_DIGEST)

    assert written.path == tmp_path / "step-00000012"
    read = read_checkpoint(written.path, digest=written.digest)
    assert (read.step, read.plan) == (SNAPSHOT.step, SNAPSHOT.plan)
    assert (read.losses, read.eval_losses) == (SNAPSHOT.losses, SNAPSHOT.eval_losses)
    for found, expected in (
        (read.tensors, SNAPSHOT.tensors),
        (read.first_moments, SNAPSHOT.first_moments),
        (read.second_moments, SNAPSHOT.second_moments),
    ):
        assert found.keys() == expected.keys()
        assert torch.equal(found[NAME], expected[NAME])


def test_checkpoint_written_again_replaces_the_first(tmp_path: Path) -> None:
    first = write_checkpoint(tmp_path, SNAPSHOT, CONFIG, base_digest=BASE_DIGEST)
    again = write_checkpoint(
        tmp_path, replace(SNAPSHOT, losses=(1.0,)), CONFIG, base_digest=BASE_DIGEST
    )

    assert first.path == again.path
    assert read_checkpoint(again.path, digest=again.digest).losses == (1.0,)
    assert list(tmp_path.iterdir()) == [again.path]


def test_draft_of_a_killed_writer_is_no_checkpoint(tmp_path: Path) -> None:
    written = write_checkpoint(tmp_path, SNAPSHOT, CONFIG, base_digest=BASE_DIGEST)
    (tmp_path / f".{written.path.name}.1").mkdir()
    assert list(tmp_path.glob("step-*")) == [written.path]


def test_newest_checkpoint_is_found_with_its_digest(tmp_path: Path) -> None:
    assert find_newest(tmp_path) is None
    for step in (12, 9):
        later = replace(SNAPSHOT, step=step)
        written = write_checkpoint(tmp_path, later, CONFIG, base_digest=BASE_DIGEST)
        if step == 12:
            newest = written

    assert find_newest(tmp_path) == newest


@pytest.mark.parametrize("name", FILES)
def test_changed_or_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    written = write_checkpoint(tmp_path, SNAPSHOT, CONFIG, base_digest=BASE_DIGEST)
    path = written.path / name
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b" ")
    with pytest.raises(ContentCorrupt, match="recorded as"):
        read_checkpoint(written.path, digest=written.digest)

    path.unlink()
    with pytest.raises(ContentCorrupt, match=f"lacks {name}"):
        read_checkpoint(written.path, digest=written.digest)


def test_state_is_plain_json(tmp_path: Path) -> None:
    written = write_checkpoint(tmp_path, SNAPSHOT, CONFIG, base_digest=BASE_DIGEST)
    state = json.loads((written.path / "state.json").read_text())
    assert state["step"] == 12
