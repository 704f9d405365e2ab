"""`weft bench` as a person types it."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from weft.bench.command import bench
from weft.bench.record_file import read_record, store_record

from .test_record import RECORD

ABSENT = ("redis", "grpc", "google.protobuf", "peft", "rich", "prometheus_client")
TINY = ["engine", "--shape", "tiny", "--device", "cpu", "--dtype", "float32"]
SMALL = [*TINY, "--part", "loads", "--minutes", "0", "--threads", "1"]


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
    assert "--part [decode|tax|prefill|loads|drafts|start-up]" in done.stdout


def test_plug_in_is_found_by_the_cli() -> None:
    weft = Path(sys.executable).with_name("weft")
    done = subprocess.run([weft, "bench", "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "engine" in done.stdout


def test_engine_suite_prints_its_table_and_leaves_its_record(tmp_path: Path) -> None:
    """Where neither Redis nor gRPC is, as on a machine with a GPU and little else."""
    code = (
        "import sys; sys.modules.update(dict.fromkeys(sys.argv.pop(1).split(',')))\n"
        "from weft.bench.command import bench; bench()"
    )
    out = ["--out", str(tmp_path / "out"), "--conditions", "a test"]
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, ",".join(ABSENT), *SMALL, *out],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "out").glob("*.json")
    assert {p.suffix for p in path.parent.iterdir()} == {".json", ".md", ".svg"}
    assert f"record: {path}" in done.stdout
    assert "out of time: 2 cases left" in done.stdout
    content = json.loads(path.read_text())
    assert content["conditions"]["note"] == "a test"
    assert content["suite"] == "engine-tiny"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--commit", "main"], "is not 7 to 40 hexadecimal digits"),
        (["--part", "nothing"], "'nothing' is not one of 'decode', 'tax'"),
        (["--slice", "3/2"], "is not i/n"),
    ],
)
def test_option_that_makes_no_sense_is_refused(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(bench, [*TINY, *arguments])
    assert result.exit_code != 0
    assert message in result.output


def test_kernel_suite_needs_a_gpu_or_small_shapes() -> None:
    result = CliRunner().invoke(bench, ["kernels", "--device", "cpu"])
    assert result.exit_code == 2
    assert "--small checks them" in result.output


@pytest.mark.parametrize("part", ["0/2", "3/2", "1", "a/b"])
def test_slice_that_is_none_is_refused(part: str) -> None:
    result = CliRunner().invoke(bench, ["kernels", "--small", "--slice", part])
    assert result.exit_code == 2
    assert "is not i/n" in result.output


def test_report_shows_a_record_again_and_draws_it_anew(tmp_path: Path) -> None:
    path = store_record(RECORD, tmp_path)
    path.with_suffix(".svg").unlink()
    result = CliRunner().invoke(bench, ["report", str(path)])
    assert result.exit_code == 0, result.output
    assert result.output == path.with_suffix(".md").read_text()
    assert path.with_suffix(".svg").exists()


def test_report_makes_slices_one_record(tmp_path: Path) -> None:
    halves = [
        store_record(replace(RECORD, part=f"{i}of2", cells=[cell]), tmp_path)
        for i, cell in enumerate(RECORD.cells[:2], 1)
    ]
    result = CliRunner().invoke(
        bench, ["report", *map(str, halves), "--out", str(tmp_path / "whole")]
    )
    assert result.exit_code == 0, result.output
    (path,) = (tmp_path / "whole").glob("*.json")
    assert read_record(path).cells == RECORD.cells[:2]


def test_report_compares_two_runs_and_refuses_three(tmp_path: Path) -> None:
    paths = [str(store_record(RECORD, tmp_path)) for _ in range(3)]
    result = CliRunner().invoke(bench, ["report", *paths[:2]])
    assert result.exit_code == 0, result.output
    assert "2 figures, 0 differ" in result.output
    assert "One commit" in result.output
    assert CliRunner().invoke(bench, ["report", *paths]).exit_code == 2


def test_report_lists_what_is_kept() -> None:
    result = CliRunner().invoke(bench, ["report"])
    assert result.exit_code == 0, result.output
    assert "2026-11-21-a4986d81d139-engine-82m.json" in result.output


def test_report_refuses_another_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("[]")
    result = CliRunner().invoke(bench, ["report", str(path)])
    assert result.exit_code == 1
    assert "x.json is no record" in result.output
