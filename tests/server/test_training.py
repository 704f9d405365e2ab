"""What the training thread does, without Redis."""

import json
from pathlib import Path
from threading import Event

import pytest
import torch

from tests.adapters.chats import orders, write_jsonl
from weft.adapters.checkpoint import Checkpoint, find_newest
from weft.adapters.errors import DatasetInvalid, TrainingStopped
from weft.adapters.finetune import Progress
from weft.adapters.options import FinetuneOptions, LoraOptions
from weft.adapters.sites import BaseFacts
from weft.adapters.tensor_checks import Limits
from weft.server.model.facts import base_facts
from weft.server.training import DataFiles, Training, TrainOrder, find_usable, read_generation

OPTIONS = FinetuneOptions(
    lora=LoraOptions(rank=4), seed=1, batch_tokens=128, max_steps=6, checkpoint_every=2
)


@pytest.fixture(scope="module")
def facts(tiny_llama: Path) -> BaseFacts:
    return base_facts(str(tiny_llama), name="tiny", dtype="float32", hash_cache=None)


@pytest.fixture
def training(tiny_llama: Path, facts: BaseFacts) -> Training:
    limits = Limits(64, 1 << 30, 1 << 30)
    return Training(tiny_llama, facts, device=torch.device("cpu"), limits=limits)


@pytest.fixture
def data(tmp_path: Path) -> DataFiles:
    rows = orders(40)
    return DataFiles(
        write_jsonl(tmp_path / "train.jsonl", rows[:30]),
        write_jsonl(tmp_path / "eval.jsonl", rows[30:]),
    )


def order(data: DataFiles, folder: Path, *, resume: Checkpoint | None = None) -> TrainOrder:
    return TrainOrder(
        data, OPTIONS.to_json(), folder / "checkpoints", folder / "out", resume, Event()
    )


def pass_over(_: object, *__: object) -> None:
    """Need no progress."""


def test_validation_needs_no_base(training: Training, data: DataFiles) -> None:
    validated = training.validate(data, OPTIONS)

    plan = validated.prepared.require_plan()
    assert (validated.format, validated.num_rows) == ("chat", 30)
    assert (len(plan.train), len(plan.held_out)) == (30, 10)
    assert not training.is_loaded


def test_findings_of_both_files_count(training: Training, data: DataFiles) -> None:
    assert data.held_out is not None
    data.held_out.write_text("{\n" + data.train.read_text().splitlines()[0] + "\n")
    counts = training.validate(data, OPTIONS).prepared.report.findings.counts
    assert counts == {"F102": 1, "F107": 2, "S502": 1}


def test_training_starts_where_it_is_told_and_saves(
    training: Training, data: DataFiles, tmp_path: Path
) -> None:
    started: list[tuple[bool, int]] = []
    result = training.train(
        order(data, tmp_path),
        on_start=lambda packed, step: started.append((packed, step)),
        on_progress=pass_over,
    )
    newest = find_newest(tmp_path / "checkpoints")
    assert newest is not None
    assert newest.step == result.num_steps == 6

    training.train(
        order(data, tmp_path, resume=newest),
        on_start=lambda packed, step: started.append((packed, step)),
        on_progress=lambda progress: pytest.fail(f"step {progress.step} ran again"),
    )
    assert started == [(True, 0), (True, 6)]
    assert training.is_loaded
    training.free()
    assert not training.is_loaded


def test_stop_ends_training_with_a_checkpoint(
    training: Training, data: DataFiles, tmp_path: Path
) -> None:
    asked = order(data, tmp_path)

    def stop(progress: Progress) -> None:
        if progress.step == 3:
            asked.stop.set()

    with pytest.raises(TrainingStopped, match="after step 3 of 6"):
        training.train(asked, on_start=pass_over, on_progress=stop)

    newest = find_newest(tmp_path / "checkpoints")
    assert newest is not None
    assert newest.step == 3
    assert not (tmp_path / "out").exists()


def test_data_that_changed_since_validation_are_refused(
    training: Training, data: DataFiles, tmp_path: Path
) -> None:
    data.train.write_text("{\n")
    with pytest.raises(DatasetInvalid, match="F102"):
        training.train(order(data, tmp_path), on_start=pass_over, on_progress=pass_over)
    assert not training.is_loaded


def test_checkpoint_that_is_gone_or_of_another_plan_is_passed_over(
    training: Training, data: DataFiles, tmp_path: Path
) -> None:
    training.train(order(data, tmp_path), on_start=pass_over, on_progress=pass_over)
    newest = find_newest(tmp_path / "checkpoints")
    assert newest is not None
    plan = training.validate(data, OPTIONS).prepared.require_plan()
    other = training.validate(DataFiles(data.train, None), OPTIONS).prepared.require_plan()

    assert find_usable(newest, plan) == newest
    assert find_usable(newest, other) is None
    assert find_usable(Checkpoint(tmp_path / "gone", 6, newest.digest), plan) is None
    assert find_usable(Checkpoint(newest.path, 6, "sha256:other"), plan) is None
    assert find_usable(None, plan) is None


def test_end_tokens_come_from_the_generation_config_or_the_models(
    tiny_llama: Path, tmp_path: Path
) -> None:
    config = json.loads((tiny_llama / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"eos_token_id": 5}))
    assert read_generation(tmp_path).eos_token_id == 5
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [5, 6]}))
    assert read_generation(tmp_path).eos_token_id == [5, 6]
