"""A record's files: their names, every field that a reader needs, and the way back."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from weft.bench.record import Cell, Gap
from weft.bench.record_file import derive_files, from_json, read_record, store_record, to_json

from .test_record import RECORD

RESULTS = Path(__file__).parents[2] / "bench" / "results"
STEM = "2026-01-02-0123456789ab-engine-tiny"


def test_file_holds_samples_conditions_and_what_derives_from_them(tmp_path: Path) -> None:
    content = json.loads(store_record(RECORD, tmp_path / "new").read_text())
    conditions = content["conditions"]
    assert conditions["command"] == "weft bench engine --shape tiny"
    assert conditions["source"] == {"commit": "0123456789ab", "tree": "dirty"}
    assert conditions["started"] == "2026-01-02T03:04:05+00:00"
    assert conditions["ceilings"]["copy_bytes_s"] == 4e9
    assert (conditions["seed"], conditions["note"]) == (3, "shared")
    assert conditions["load_average"] == [1.0, 2.0]
    cell = content["cells"][0]
    assert cell["samples"] == [90.0, 100.0, 120.0]
    assert (cell["median"], cell["floor"], cell["over_floor"]) == (100, 200, 2)
    assert cell["spread"] == pytest.approx(0.3)
    assert content["ratios"][0]["median"] == 2.5
    assert content["loads"][0]["median_ms"] == 2
    assert content["verdicts"] == [{"goal": "P6", "met": None, "margin": "another shape"}]


def test_no_record_replaces_another_and_each_has_its_table_and_plot(tmp_path: Path) -> None:
    names = [store_record(RECORD, tmp_path).name for _ in range(3)]
    assert names == [f"{STEM}.json", f"{STEM}-2.json", f"{STEM}-3.json"]
    for number in ("", "-2", "-3"):
        assert (tmp_path / f"{STEM}{number}.md").read_text().startswith("# engine-tiny")
        assert (tmp_path / f"{STEM}{number}.svg").read_text().startswith("<svg")


def test_slice_is_named_in_its_file(tmp_path: Path) -> None:
    assert store_record(replace(RECORD, part="1of4"), tmp_path).name == f"{STEM}-1of4.json"


def test_record_comes_back_whole() -> None:
    cell = Cell(
        "weft",
        "graph",
        "µs",
        [1.5],
        case="p1 r16",
        parameters={"rows": 64},
        launch_floor=1.0,
        error=1e-3,
    )
    record = replace(RECORD, cells=[*RECORD.cells, cell], gaps=[Gap("peer", "p1", "n/a (why)")])
    back = from_json(to_json(record))
    assert to_json(back) == to_json(record)
    assert back.cells[-1] == cell
    assert back.conditions.started == RECORD.conditions.started
    assert back.conditions.source == RECORD.conditions.source


def test_json_has_a_line_per_cell() -> None:
    lines = to_json(RECORD).splitlines()
    assert sum('"contender"' in line for line in lines) == len(RECORD.cells)


def test_file_that_is_no_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text('{"suite": "engine"}')
    with pytest.raises(ValueError, match=r"other\.json is no record: KeyError"):
        read_record(path)


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_table_and_plot_of_a_kept_record_are_those_of_its_json(path: Path, tmp_path: Path) -> None:
    derive_files(read_record(path), tmp_path / path.name)
    for suffix in (".md", ".svg"):
        derived = (tmp_path / path.name).with_suffix(suffix).read_text()
        assert path.with_suffix(suffix).read_text() == derived
