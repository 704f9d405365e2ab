"""The six small variants from end to end: one server, real streams, a record. No time is judged."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from weft.bench.command import bench
from weft.bench.record_file import read_record

SMALL = ["serving", "all", "--small", "--shape", "tiny", "--seconds", "1", "--rate", "40"]


@pytest.mark.xdist_group("servers")
@pytest.mark.timeout(300)
def test_small_variants_run_from_end_to_end(tmp_path: Path) -> None:
    result = CliRunner().invoke(bench, [*SMALL, "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    [path] = tmp_path.glob("*-serving-tiny.json")
    record = read_record(path)
    assert record.holds
    rates = {cell.case: cell for cell in record.cells if cell.figure == "rate"}
    assert {case.partition(" ")[0] for case in rates} == {"W1", "W2", "W3", "W4", "W5", "W6"}
    codes = {name for cell in rates.values() for name in cell.parameters if name.isupper()}
    assert "OK" in codes <= {"OK", "CUT"}  # a busy machine cuts, and nobody refuses
    assert {"W6 without", "W6 with"} == {c.case for c in record.cells if c.figure == "jain"}
    assert "P4: not judged" in result.output
    assert path.with_suffix(".svg").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shape", "tiny"], "--shape is of the small variants"),
        (["--address", "localhost:1"], "needs --address and --model"),
        (["--model", "x"], "needs --address and --model"),
        (["--keys", __file__], "--keys is of it"),
        (
            ["--address", "localhost:1", "--model", "x", "--device", "cpu"],
            "are of servers that are started here",
        ),
    ],
)
def test_options_that_do_not_fit_together_are_refused(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(bench, ["serving", "W1", *arguments])
    assert result.exit_code == 2
    assert message in result.output
