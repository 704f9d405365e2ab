"""Findings: counted, shown in part, kept whole."""

import json

from weft.adapters.findings import Finding, Findings, Severity, cut_excerpt, merge_findings


def warn(code: str, line: int | None = None) -> Finding:
    return Finding(code, Severity.WARNING, "m", "s", row=line, line=line)


def test_counts_and_errors_are_over_all_findings() -> None:
    error = Finding("F102", Severity.ERROR, "m", "s")
    found = Findings((warn("F108"), error, warn("F108")))
    assert found.counts == {"F102": 1, "F108": 2}
    assert found.num_errors == 1


def test_twenty_of_each_code_are_shown_and_all_are_written() -> None:
    found = Findings(tuple(warn(code, i) for i in range(1, 31) for code in ("F108", "S501")))
    assert len(found.shown) == 40
    assert [f.line for f in found.shown if f.code == "S501"] == list(range(1, 21))
    lines = found.to_jsonl().splitlines()
    assert len(lines) == 60
    assert json.loads(lines[0]) == {
        "code": "F108",
        "severity": "warning",
        "message": "m",
        "suggestion": "s",
        "row": 1,
        "line": 1,
        "path": "",
        "excerpt": "",
    }


def test_merged_findings_are_in_the_order_of_the_file() -> None:
    merged = merge_findings([[warn("A", 3), warn("B")], [warn("C", 1)]])
    assert [f.code for f in merged.items] == ["B", "C", "A"]


def test_text_names_code_and_line() -> None:
    assert str(warn("F108", 3)) == "F108 line 3: m"
    assert str(warn("F106")) == "F106 m"


def test_excerpt_has_at_most_eighty_characters() -> None:
    assert cut_excerpt("a" * 80) == "a" * 80
    assert cut_excerpt("a" * 81) == "a" * 79 + "…"
