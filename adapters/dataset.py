"""Data sets: JSONL files, their formats, and every finding that needs no tokenizer.

Codes: F101-F108 the file and its lines, C201-C209 conversations, S501-S503 the set as a whole.
Preference rows are recognised and checked for their keys; no method of this server trains on them.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path

from .conversation import Message, check_messages
from .findings import Finding, Severity, cut_excerpt

MAX_FILE_BYTES = 2 << 30
MAX_ROW_BYTES = 1 << 20
FEW_ROWS = 50
SAME_COMPLETION_SHARE = 0.95
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Format(StrEnum):
    TEXT = "text"
    COMPLETION = "completion"
    CHAT = "chat"
    PREFERENCE = "preference"


REQUIRED_KEYS = {
    Format.PREFERENCE: ("prompt", "chosen", "rejected"),
    Format.CHAT: ("messages",),
    Format.COMPLETION: ("prompt", "completion"),
    Format.TEXT: ("text",),
}
OPTIONAL_KEYS = {Format.CHAT: ("tools",)}


@dataclass(frozen=True, slots=True)
class Row:
    """One row as the file has it.

    Attributes:
        number: Counted from 1 over the rows of the file.
        line: Counted from 1 over its lines.
        digest: sha256 of the row's canonical content without its `id`, in hexadecimal.
        text: The whole text, or the completion of a completion row; empty in a conversation.
        prompt: Of a completion row; else empty.
        messages: Of a conversation; else empty.
        tools: Of a conversation that declares some.
    """

    number: int
    line: int
    id: str | None
    digest: str
    format: Format
    text: str = ""
    prompt: str = ""
    messages: tuple[Message, ...] = ()
    tools: tuple[Mapping[str, object], ...] = ()

    @property
    def answer(self) -> str:
        """What the row teaches the model to say, as one text."""
        if self.format is not Format.CHAT:
            return self.text
        return "\n".join(m.content or "" for m in self.messages if m.role == "assistant")


@dataclass(frozen=True, slots=True)
class Dataset:
    """The rows that could be read, and what was found. `format` is that of the first row."""

    rows: tuple[Row, ...]
    findings: tuple[Finding, ...]
    format: Format | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a line stands, and the start of its text."""

    row: int
    line: int
    excerpt: str

    def find(
        self,
        code: str,
        message: str,
        suggestion: str,
        *,
        path: str = "",
        severity: Severity = Severity.ERROR,
    ) -> Finding:
        """Make a finding about this line."""
        return Finding(code, severity, message, suggestion, self.row, self.line, path, self.excerpt)


def read_dataset(path: Path) -> Dataset:
    """Read a JSONL file; every finding is reported, none raised."""
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        message = f"file of {size} bytes exceeds {MAX_FILE_BYTES}"
        finding = Finding("F105", Severity.ERROR, message, "split the file")
        return Dataset((), (finding,), None)
    rows: list[Row] = []
    findings: list[Finding] = []
    found: Format | None = None
    with path.open("rb") as lines:
        for place, line in number_lines(lines):
            row, problems = read_row(place, line)
            findings += problems
            if row is None:
                continue
            found = found or row.format
            if row.format is not found:
                message = f"row is {row.format}, the rows before it are {found}"
                findings.append(place.find("F103", message, "split the file"))
            rows.append(row)
    return Dataset(tuple(rows), (*check_set(rows, findings), *findings), found)


def number_lines(lines: Iterator[bytes]) -> Iterator[tuple[Place, bytes]]:
    """Yield every line that is not blank with its place."""
    row = 0
    for number, raw in enumerate(lines, 1):
        line = raw.rstrip(b"\r\n")
        if line.strip():
            row += 1
            excerpt = cut_excerpt(line[:400].decode("utf-8", "replace").lstrip("\ufeff"))
            yield Place(row, number, excerpt), line


def check_set(rows: list[Row], findings: list[Finding]) -> list[Finding]:
    """Find what concerns the set as a whole: its size and its repetitions."""
    if not rows and not findings:
        return [Finding("F106", Severity.ERROR, "the file has no rows", "add rows")]
    found: list[Finding] = []
    if 0 < len(rows) < FEW_ROWS:
        message = f"{len(rows)} rows, fewer than {FEW_ROWS}"
        found.append(Finding("F107", Severity.WARNING, message, "add rows"))
    return found + find_duplicates(rows) + find_one_answer(rows)


def find_duplicates(rows: list[Row]) -> list[Finding]:
    """S501: rows with the content of an earlier one."""
    first: dict[str, int] = {}
    found: list[Finding] = []
    for row in rows:
        if first.setdefault(row.digest, row.number) != row.number:
            message = f"exact duplicate of row {first[row.digest]}"
            found.append(
                Finding("S501", Severity.WARNING, message, "remove it", row.number, row.line)
            )
    return found


def find_one_answer(rows: list[Row]) -> list[Finding]:
    """S503: nearly all rows teach the same answer."""
    answers = Counter(row.answer for row in rows if row.format is not Format.TEXT)
    if answers.total() < 2:
        return []
    answer, count = answers.most_common(1)[0]
    if count <= SAME_COMPLETION_SHARE * answers.total():
        return []
    message = f"{count} of {answers.total()} rows have one completion"
    return [
        Finding("S503", Severity.WARNING, message, "check the export", excerpt=cut_excerpt(answer))
    ]


def find_overlap(train: tuple[Row, ...], held_out: tuple[Row, ...]) -> list[Finding]:
    """S502: rows of the held-out set that are trained on."""
    trained = {row.digest: row.number for row in train}
    return [
        Finding(
            "S502",
            Severity.ERROR,
            f"evaluation row {row.number} is training row {trained[row.digest]}",
            "remove it from one of the files",
            row.number,
            row.line,
        )
        for row in held_out
        if row.digest in trained
    ]


def read_row(place: Place, line: bytes) -> tuple[Row | None, list[Finding]]:
    """Read one line; None when it cannot be a row, with the findings that say why."""
    if place.line == 1 and line.startswith(BYTE_ORDER_MARK):
        message = "file starts with a byte order mark"
        return None, [place.find("F101", message, "save as UTF-8 without mark")]
    if len(line) > MAX_ROW_BYTES:
        message = f"row of {len(line)} bytes exceeds {MAX_ROW_BYTES}"
        return None, [place.find("F105", message, "split the row")]
    try:
        text = line.decode()
    except UnicodeDecodeError as err:
        message = f"not UTF-8 at byte {err.start + 1} of the line"
        return None, [place.find("F101", message, "save as UTF-8 without mark")]
    value, problems = parse_object(place, text)
    if value is None:
        return None, problems
    form = recognise(value)
    if form is None:
        message = f"keys {sorted(value)} are those of no format"
        suggestion = "use text, or prompt and completion, or messages"
        return None, [*problems, place.find("F103", message, suggestion)]
    row, found = build_row(place, form, value)
    return row, [*problems, *find_unknown_keys(place, form, value), *found]


def parse_object(place: Place, text: str) -> tuple[dict[str, object] | None, list[Finding]]:
    """Parse one JSON object, reporting duplicate keys and numbers that JSON does not have."""
    problems: list[str] = []

    def join(pairs: list[tuple[str, object]]) -> dict[str, object]:
        counts = Counter(key for key, _ in pairs)
        problems.extend(f"key {key!r} occurs {n} times" for key, n in counts.items() if n > 1)
        return dict(pairs)

    def constant(name: str) -> float:
        problems.append(f"{name} is not a JSON number")
        return math.nan

    try:
        value = json.loads(text, object_pairs_hook=join, parse_constant=constant)
    except (json.JSONDecodeError, RecursionError) as err:
        column = f" at column {err.colno}" if isinstance(err, json.JSONDecodeError) else ""
        message = f"not one JSON object{column}"
        suggestion = "one object per line; no array around the file"
        return None, [place.find("F102", message, suggestion)]
    if not isinstance(value, dict):
        message = f"a JSON {type(value).__name__}, not an object"
        suggestion = "one object per line; no array around the file"
        return None, [place.find("F102", message, suggestion)]
    return value, [place.find("F104", problem, "remove it") for problem in problems]


def recognise(value: Mapping[str, object]) -> Format | None:
    """Tell the format from the keys."""
    for form, keys in REQUIRED_KEYS.items():
        if all(key in value for key in keys):
            return form
    return None


def find_unknown_keys(place: Place, form: Format, value: Mapping[str, object]) -> list[Finding]:
    """F108, with the nearest known key where there is one."""
    known = ("id", *REQUIRED_KEYS[form], *OPTIONAL_KEYS.get(form, ()))
    found: list[Finding] = []
    for key in value:
        if key in known:
            continue
        near = get_close_matches(key, known, n=1)
        suggestion = f"rename to {near[0]!r}" if near else "remove it"
        found.append(
            place.find(
                "F108",
                f"unknown key {key!r}",
                suggestion,
                path=f"/{key}",
                severity=Severity.WARNING,
            )
        )
    return found


def build_row(
    place: Place, form: Format, value: dict[str, object]
) -> tuple[Row | None, list[Finding]]:
    """Type the values of a row whose format is known."""
    identity = value.pop("id", None)
    if identity is not None and not isinstance(identity, str):
        return None, [place.find("F103", "id is not a text", "quote it", path="/id")]
    digest = hash_row(value)
    if form is Format.PREFERENCE:
        return Row(place.row, place.line, identity, digest, form), []
    if form is Format.CHAT:
        chat = check_messages(value["messages"], value.get("tools"))
        found = [
            place.find(p.code, p.message, p.suggestion, path=p.path, severity=p.severity)
            for p in chat.problems
        ]
        if chat.messages is None:
            return None, found
        row = Row(
            place.row,
            place.line,
            identity,
            digest,
            form,
            messages=chat.messages,
            tools=chat.tools,
        )
        return row, found
    wrong = [key for key in REQUIRED_KEYS[form] if not isinstance(value[key], str)]
    if wrong:
        return None, [
            place.find("F103", f"{key} is not a text", "write a text", path=f"/{key}")
            for key in wrong
        ]
    text = str(value["text" if form is Format.TEXT else "completion"])
    return Row(
        place.row,
        place.line,
        identity,
        digest,
        form,
        text=text,
        prompt=str(value.get("prompt", "")),
    ), []


def hash_row(value: Mapping[str, object]) -> str:
    """Identify a row by its content, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
