"""`weft bench` as a person types it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from weft.bench.command import bench

TINY = ["engine", "--shape", "tiny", "--device", "cpu", "--dtype", "float32"]
SMALL = [*TINY, "--adapters", "2", "--ranks", "4,8", "--rounds", "1", "--threads", "1"]


def test_help_needs_no_torch() -> None:
    code = (
        "import sys; from weft.bench.command import bench; "
        "bench(['engine', '--help'], standalone_mode=False); "
        "assert not {'torch', 'grpc', 'redis'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--peer [hf-peft]" in done.stdout


def test_plug_in_is_found_by_the_cli() -> None:
    weft = Path(sys.executable).with_name("weft")
    done = subprocess.run([weft, "bench", "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "engine" in done.stdout


def test_engine_suite_prints_its_table_and_leaves_its_record(tmp_path: Path) -> None:
    os.environ.setdefault("COLUMNS", "100")
    result = CliRunner().invoke(
        bench, [*SMALL, "--out", str(tmp_path / "out"), "--conditions", "a test"]
    )
    assert result.exit_code == 0, result.output
    (path,) = (tmp_path / "out").iterdir()
    assert f"record: {path}" in result.output
    assert "weft mixed / weft base, tokens/s" in result.output
    content = json.loads(path.read_text())
    assert content["conditions"]["note"] == "a test"
    assert content["suite"] == "engine-tiny"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ranks", "8,x"], "is not ranks above 0"),
        (["--ranks", "0"], "is not ranks above 0"),
        (["--prompt-tokens", "510"], "518 tokens exceed the shape's 512"),
        (["--commit", "main"], "is not 7 to 40 hexadecimal digits"),
        (["--peer", "nobody"], "'nobody' is not 'hf-peft'"),
    ],
)
def test_option_that_makes_no_sense_is_refused(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(bench, [*TINY, *arguments])
    assert result.exit_code != 0
    assert message in result.output
