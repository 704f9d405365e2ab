"""`job.yaml`."""

from pathlib import Path

import click
import pytest

from weft.protos.v1.jobs_pb2 import LORA_INIT_DEFAULT, PUBLISH_MODE_NEVER, JobSpec
from weft.server.commands.job_file import read_job

JOB = """
train: [datasets/d1]
sft: {}
lora: {rank: 8, alpha: 32, init: default}
optimisation: {learning_rate: 2e-4, seed: 1}
publish: {mode: NEVER, adapter: support}
labels: {team: a}
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_file_has_the_fields_of_a_job(tmp_path: Path) -> None:
    spec = read_job(write(tmp_path / "job.yaml", JOB), [])
    assert list(spec.train) == ["datasets/d1"]
    assert spec.WhichOneof("method") == "sft"
    assert (spec.lora.rank, spec.lora.alpha, spec.lora.init) == (8, 32, LORA_INIT_DEFAULT)
    assert spec.publish.mode == PUBLISH_MODE_NEVER
    assert not spec.lora.HasField("dropout")


def test_settings_win_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "job.yaml", JOB)
    spec = read_job(path, ["lora.rank=16", "limits.max_steps=3", "publish.adapter=sales"])
    assert (spec.lora.rank, spec.limits.max_steps, spec.publish.adapter) == (16, 3, "sales")
    assert spec.lora.alpha == 32


def test_settings_alone_make_a_job() -> None:
    assert read_job(None, ["publish.adapter=a", "publish.mode=PUBLISH_MODE_NEVER"]) == JobSpec(
        publish={"adapter": "a", "mode": PUBLISH_MODE_NEVER}
    )


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("lora: {ranks: 8}", "ranks"),
        ("epochs: 3", "epochs"),
        ("publish: {mode: SOMETIMES}", "SOMETIMES"),
        ("lora: {rank: many}", "many"),
        ("- a\n- b", "list"),
        ("{", "YAML"),
    ],
)
def test_what_a_job_has_not_is_refused_by_name(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(click.UsageError, match=named):
        read_job(write(tmp_path / "job.yaml", text), [])


@pytest.mark.parametrize("setting", ["rank", "display_name.x=1"])
def test_a_setting_that_is_none_is_refused(tmp_path: Path, setting: str) -> None:
    with pytest.raises(click.UsageError, match="--set"):
        read_job(write(tmp_path / "job.yaml", "display_name: d"), [setting])
