"""What commands print: text for people, or JSON; progress on the error stream of a terminal."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import click
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from weft.client import Progress as Done
from weft.client.transfer import OnProgress, ignore

Document = Mapping[str, object] | Sequence[object]


@dataclass(frozen=True, slots=True)
class Terminal:
    """How to print: JSON or text, and whether progress is wanted."""

    json: bool = False
    quiet: bool = False

    @property
    def shows_progress(self) -> bool:
        return sys.stderr.isatty() and not self.quiet

    def show(self, document: Document, lines: Iterable[str]) -> None:
        """Print the document as JSON, or else the lines."""
        for line in [json.dumps(document, ensure_ascii=False)] if self.json else lines:
            click.echo(line)

    def note(self, line: str) -> None:
        """Say something beside the result, on the error stream."""
        if not self.quiet:
            click.echo(line, err=True)

    @contextmanager
    def transfers(self) -> Iterator[OnProgress]:
        """Draw a bar per file and a line per step, as far as they come."""
        if not self.shows_progress:
            yield ignore
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[shown]}"),
        )
        with Progress(*columns, console=Console(stderr=True)) as bars:
            tasks: dict[str, TaskID] = {}

            def draw(progress: Done) -> None:
                if progress.what not in tasks:
                    tasks[progress.what] = bars.add_task(progress.what, total=None, shown="")
                bars.update(
                    tasks[progress.what],
                    completed=progress.done,
                    total=progress.total,
                    shown="" if progress.total == 1 else size(progress.done),
                )

            yield draw


def document_of(message: Message) -> dict[str, object]:
    """Write a message as proto3 JSON under its own field names, defaults among it."""
    document: dict[str, object] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return document


def documents_of(messages: Iterable[Message]) -> list[dict[str, object]]:
    return [document_of(message) for message in messages]


def columns(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lay cells out in columns as wide as their widest cell."""
    table = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


def short(digest: str) -> str:
    """Shorten a digest to the 12 digits that tables show."""
    return digest.removeprefix("sha256:")[:12]


def word(name: str, prefix: str) -> str:
    """Say the name of an enum's value as a word."""
    return name.removeprefix(prefix).lower().replace("_", " ")


def size(num_bytes: int) -> str:
    if num_bytes < 1024:
        return f"{num_bytes} B"
    for unit in ("KiB", "MiB"):
        num_bytes, rest = divmod(num_bytes, 1024)
        if num_bytes < 1024:
            return f"{num_bytes + rest / 1024:.1f} {unit}"
    return f"{num_bytes / 1024:.1f} GiB"


def when(unix_ms: int) -> str:
    """Say a time as people do, in UTC; nothing for no time."""
    if not unix_ms:
        return ""
    return datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def pairs(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
