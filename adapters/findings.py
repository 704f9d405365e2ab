"""Findings about a data set: what is wrong, where, and what to do about it."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum

EXCERPT_CHARACTERS = 80
SHOWN_PER_CODE = 20


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding.

    Attributes:
        row: Counted from 1 over the rows, blank lines left out; None for the whole file.
        line: Counted from 1 over the lines of the file; None for the whole file.
        path: JSON pointer into the row; empty for all of it.
        excerpt: At most 80 characters of the row's own text.
    """

    code: str
    severity: Severity
    message: str
    suggestion: str
    row: int | None = None
    line: int | None = None
    path: str = ""
    excerpt: str = ""

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line is not None else ""
        return f"{self.code} {place}{self.message}"


@dataclass(frozen=True, slots=True)
class Findings:
    """Every finding of a data set, in the order of its rows."""

    items: tuple[Finding, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Findings per code."""
        return dict(sorted(Counter(finding.code for finding in self.items).items()))

    @property
    def num_errors(self) -> int:
        return sum(finding.severity is Severity.ERROR for finding in self.items)

    @property
    def shown(self) -> tuple[Finding, ...]:
        """The first findings of each code, as many as an answer carries."""
        seen: Counter[str] = Counter()
        kept: list[Finding] = []
        for finding in self.items:
            seen[finding.code] += 1
            if seen[finding.code] <= SHOWN_PER_CODE:
                kept.append(finding)
        return tuple(kept)

    def to_jsonl(self) -> bytes:
        """One JSON object per finding and line."""
        return b"".join(
            json.dumps(asdict(finding), ensure_ascii=False).encode() + b"\n"
            for finding in self.items
        )


def merge_findings(parts: Iterable[Iterable[Finding]]) -> Findings:
    """Join findings of several checks: whole-file ones first, then by line."""
    items = [finding for part in parts for finding in part]
    return Findings(tuple(sorted(items, key=lambda finding: finding.line or 0)))


def cut_excerpt(text: str) -> str:
    """Shorten a row's text to what a finding may quote."""
    return text if len(text) <= EXCERPT_CHARACTERS else text[: EXCERPT_CHARACTERS - 1] + "…"
