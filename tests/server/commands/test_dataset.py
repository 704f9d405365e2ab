"""`weft dataset`."""

import json
from pathlib import Path

from tests.client.service import State
from weft.server.commands.dataset import interleave

from .conftest import Weft


def write_rows(path: Path, rows: list[str]) -> Path:
    path.write_text("\n".join(rows) + "\n")
    return path


def test_upload_makes_a_data_set_of_a_file(weft: Weft, state: State, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", ['{"text": "hello"}'])
    assert weft("dataset", "upload", path).out == "datasets/d1\n"
    assert 'display_name: "rows.jsonl"' in str(state.requests[-1])


def test_check_reports_every_finding(weft: Weft, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", ['{"text": "a"}', "no json", '{"other": 1}'])
    ended = weft("dataset", "check", path, "--report", tmp_path / "report.jsonl")
    assert ended.code == 7
    assert "F102 line 2" in ended.out
    codes = {
        json.loads(line)["code"] for line in (tmp_path / "report.jsonl").read_text().splitlines()
    }
    assert {"F102", "F103", "F107"} <= codes


def test_a_sound_data_set_passes(weft: Weft, tmp_path: Path) -> None:
    rows = [json.dumps({"text": f"row {i}"}) for i in range(60)]
    ended = weft("dataset", "check", write_rows(tmp_path / "rows.jsonl", rows), "--output", "json")
    assert (ended.code, ended.document) == (0, {"errors": 0, "counts": {}})


def test_check_with_a_base_shows_what_is_trained(
    weft: Weft, tmp_path: Path, tiny_llama: Path
) -> None:
    rows = [
        json.dumps(
            {
                "messages": [
                    {"role": "user", "content": f"q {i}"},
                    {"role": "assistant", "content": f"a {i}"},
                ]
            }
        )
        for i in range(60)
    ]
    path = write_rows(tmp_path / "rows.jsonl", rows)
    ended = weft("dataset", "check", path, "--base", tiny_llama)
    assert ended.code == 0, ended
    assert "^" in ended.out
    assert "60 rows" in ended.out


def test_data_sets_are_listed(weft: Weft) -> None:
    line = weft("dataset", "list").out.splitlines()[1]
    assert line.split() == ["datasets/d1", "3", "9", "B", "d" * 12]


def test_a_mask_stands_under_its_text() -> None:
    assert interleave("ab\nc", "^^.^") == ["  ab", "  ^^", "  c", "  ^"]


def test_a_file_that_is_not_there_is_a_usage_error(weft: Weft, tmp_path: Path) -> None:
    assert weft("dataset", "check", tmp_path / "nothing").code == 2
