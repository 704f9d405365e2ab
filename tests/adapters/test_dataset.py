"""Data set files: each finding as a small file."""

import json
from pathlib import Path

import pytest

from weft.adapters import dataset
from weft.adapters.dataset import Format, find_overlap, read_dataset
from weft.adapters.findings import Finding, Severity

from .chats import chat, orders, write_jsonl

CHAT = json.dumps(chat("a?", "b"))


def read(tmp_path: Path, *lines: str | bytes) -> dict[str, list[Finding]]:
    """Write lines, read them as a data set, and sort the findings by code."""
    path = tmp_path / "rows.jsonl"
    data = (line.encode() if isinstance(line, str) else line for line in lines)
    path.write_bytes(b"".join(line + b"\n" for line in data))
    found: dict[str, list[Finding]] = {}
    for finding in read_dataset(path).findings:
        found.setdefault(finding.code, []).append(finding)
    return found


@pytest.mark.parametrize(
    ("row", "form"),
    [
        ({"text": "a"}, Format.TEXT),
        ({"prompt": "a", "completion": "b"}, Format.COMPLETION),
        (chat("a", "b"), Format.CHAT),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, Format.PREFERENCE),
    ],
)
def test_format_is_told_from_the_keys(tmp_path: Path, row: dict[str, object], form: Format) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [row | {"id": "first"}])

    read = read_dataset(path)

    assert read.format is form
    assert [(r.number, r.line, r.id, r.format) for r in read.rows] == [(1, 1, "first", form)]
    assert {f.code for f in read.findings} == {"F107"}


def test_contents_of_a_row_are_typed(tmp_path: Path) -> None:
    rows = read_dataset(
        write_jsonl(tmp_path / "rows.jsonl", [{"prompt": "a", "completion": "b"}])
    ).rows
    assert (rows[0].prompt, rows[0].text, rows[0].answer) == ("a", "b", "b")

    row = chat("a?", "b", tools=[{"name": "t"}])
    (typed,) = read_dataset(write_jsonl(tmp_path / "rows.jsonl", [row])).rows
    assert [(m.role, m.content, m.weight) for m in typed.messages] == [
        ("user", "a?", 1),
        ("assistant", "b", 1),
    ]
    assert typed.tools == ({"name": "t"},)
    assert typed.answer == "b"


def test_blank_lines_are_counted_as_lines_not_rows(tmp_path: Path) -> None:
    found = read(tmp_path, CHAT, "", "[]")
    (finding,) = found["F102"]
    assert (finding.row, finding.line) == (2, 3)


@pytest.mark.parametrize(
    ("code", "line", "message"),
    [
        ("F101", b'{"text": "\xff"}', "not UTF-8 at byte 11"),
        ("F101", b"\xef\xbb\xbf" + CHAT.encode(), "byte order mark"),
        ("F102", '{"text": "a"', "column 13"),
        ("F102", "[1]", "a JSON list"),
        ("F102", "[" * 100_000, "not one JSON object"),
        ("F103", '{"texts": "a"}', "those of no format"),
        ("F103", '{"text": 5}', "text is not a text"),
        ("F103", '{"text": "a", "id": 5}', "id is not a text"),
        ("F103", '{"prompt": "a", "completion": ["b"]}', "completion is not a text"),
        ("F104", '{"text": "a", "text": "b"}', "key 'text' occurs 2 times"),
        ("F104", '{"text": "a", "id": NaN}', "NaN is not a JSON number"),
    ],
)
def test_line_that_is_no_row_is_found(
    tmp_path: Path, code: str, line: str | bytes, message: str
) -> None:
    (finding,) = read(tmp_path, line)[code]
    assert finding.severity is Severity.ERROR
    assert message in finding.message
    assert (finding.row, finding.line) == (1, 1)
    assert len(finding.excerpt) <= 80


def test_row_of_another_format_is_found(tmp_path: Path) -> None:
    (finding,) = read(tmp_path, '{"text": "a"}', CHAT)["F103"]
    assert finding.message == "row is chat, the rows before it are text"
    assert finding.line == 2


def test_row_and_file_above_their_limits_are_found(tmp_path: Path) -> None:
    (finding,) = read(tmp_path, json.dumps({"text": "a" * (1 << 20)}))["F105"]
    assert finding.message == f"row of {(1 << 20) + 12} bytes exceeds {1 << 20}"

    path = tmp_path / "large.jsonl"
    with path.open("wb") as file:
        file.truncate(dataset.MAX_FILE_BYTES + 1)  # sparse: nothing is written
    (finding,) = read_dataset(path).findings
    assert finding.code == "F105"
    assert str(dataset.MAX_FILE_BYTES + 1) in finding.message


def test_empty_and_small_files_are_found(tmp_path: Path) -> None:
    assert set(read(tmp_path)) == {"F106"}
    assert read(tmp_path, *(json.dumps(row) for row in orders(49)))["F107"][0].severity == "warning"
    assert "F107" not in read(tmp_path, *(json.dumps(row) for row in orders(50)))


def test_unknown_key_is_found_with_the_nearest_known_one(tmp_path: Path) -> None:
    (misspelt,) = read(tmp_path, json.dumps(chat("a", "b", tool=[])))["F108"]
    assert (misspelt.path, misspelt.suggestion) == ("/tool", "rename to 'tools'")
    (other,) = read(tmp_path, json.dumps(chat("a", "b", xyz=1)))["F108"]
    assert (other.suggestion, other.severity) == ("remove it", Severity.WARNING)


def test_every_finding_is_reported_not_the_first_only(tmp_path: Path) -> None:
    found = read(tmp_path, "[]", '{"text": 5}', "{", '{"text": "a", "a": 1, "b": 2}')
    assert {code: len(items) for code, items in found.items()} == {
        "F107": 1,
        "F102": 2,
        "F103": 1,
        "F108": 2,
    }


def test_exact_duplicates_are_found_whatever_their_id_and_key_order(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        '{"prompt": "a", "completion": "b", "id": "1"}',
        '{"completion": "b", "prompt": "a", "id": "2"}',
        '{"prompt": "a", "completion": "c"}',
    )
    (finding,) = found["S501"]
    assert (finding.row, finding.message) == (2, "exact duplicate of row 1")


def test_one_answer_for_all_is_found(tmp_path: Path) -> None:
    same = [json.dumps(chat(f"{i}?", "sorry")) for i in range(24)]
    other = json.dumps(chat("x?", "fine"))
    (finding,) = read(tmp_path, *same, other)["S503"]
    assert (finding.message, finding.excerpt) == ("24 of 25 rows have one completion", "sorry")
    assert "S503" not in read(tmp_path, *same[:18], other)
    assert "S503" not in read(tmp_path, same[0])


def test_rows_in_both_sets_are_found(tmp_path: Path) -> None:
    train = read_dataset(write_jsonl(tmp_path / "a.jsonl", orders(5))).rows
    held_out = read_dataset(write_jsonl(tmp_path / "b.jsonl", orders(7)[3:])).rows

    found = find_overlap(train, held_out)

    assert [(f.code, f.row) for f in found] == [("S502", 1), ("S502", 2)]
    assert found[0].message == "evaluation row 1 is training row 4"
