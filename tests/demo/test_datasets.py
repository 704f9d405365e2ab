"""The committed data sets are those that the recipe gives, and jobs accept them."""

from pathlib import Path

import pytest

from weft.adapters.dataset import Format, read_dataset
from weft.demo.datasets import NUM_ROWS, STYLES, render_dataset, write_datasets
from weft.demo.places import DATA


@pytest.mark.parametrize("name", STYLES)
def test_committed_data_set_is_what_the_generator_gives(name: str) -> None:
    assert (DATA / f"{name}.jsonl").read_text(encoding="utf-8") == render_dataset(name)


@pytest.mark.parametrize("name", STYLES)
def test_data_set_has_no_findings_and_enough_rows_for_a_held_out_part(name: str) -> None:
    dataset = read_dataset(DATA / f"{name}.jsonl")
    assert dataset.findings == ()
    assert dataset.format is Format.CHAT
    assert len(dataset.rows) == NUM_ROWS[name] >= 100


def test_all_data_sets_are_written(tmp_path: Path) -> None:
    write_datasets(tmp_path / "data")
    assert {path.name for path in (tmp_path / "data").iterdir()} == {
        path.name for path in DATA.glob("*.jsonl")
    }
