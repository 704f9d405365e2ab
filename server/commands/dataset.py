"""`weft dataset`: check, upload and list the rows that jobs train on."""

from pathlib import Path

import click

from weft.protos.v1.jobs_pb2 import DatasetFormat

from .exits import Exit
from .session import Session, SessionGroup, label_option
from .terminal import columns, document_of, documents_of, short, size, when, word

FILE = click.argument(
    "file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path)
)


@click.group(cls=SessionGroup)
def dataset() -> None:
    """Data sets: JSONL files of text, of prompts and completions, or of conversations."""


@dataset.command()
@FILE
@click.option("--base", metavar="MODEL", help="Directory or hub id, to check what is trained too.")
@click.option("--max-tokens", type=click.IntRange(2), help="Longest row.")
@click.option("--show", "num_shown", type=click.IntRange(0, 3), default=1, help="Rendered rows.")
@click.option(
    "--report",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write every finding to this file, one JSON object per line.",
)
@click.pass_context
def check(
    context: click.Context,
    file: Path,
    base: str | None,
    max_tokens: int | None,
    num_shown: int,
    report: Path | None,
) -> None:
    """Report everything that is wrong with FILE, without a server."""
    from . import offline

    session: Session = context.obj
    told = None if base is None else offline.check_training(file, base, max_tokens=max_tokens)
    findings = offline.check_rows(file) if told is None else told.findings
    if report is not None:
        report.write_bytes(findings.to_jsonl())
    document: dict[str, object] = {"errors": findings.num_errors, "counts": findings.counts}
    lines = [f"{one}  ({one.suggestion})" for one in findings.shown]
    if told is not None:
        document |= {
            "train_tokens": told.train.tokens,
            "trained_tokens": told.train.trained_tokens,
            "steps": told.num_steps,
        }
        for sample in told.samples[:num_shown]:
            lines += [f"row {sample.row}", *interleave(sample.text, sample.mask)]
        lines.append(
            f"{told.train.rows} rows, {told.train.tokens} tokens, "
            f"{told.train.trained_tokens} trained, {told.num_steps} steps"
        )
    lines.append(f"{findings.num_errors} errors, {len(findings.items)} findings")
    session.terminal.show(document, lines)
    if findings.num_errors:
        context.exit(Exit.REFUSED)


def interleave(text: str, mask: str) -> list[str]:
    """Set a row's mask under its text, line by line."""
    lines: list[str] = []
    start = 0
    for line in text.split("\n"):
        lines += [f"  {line}", f"  {mask[start : start + len(line)]}"]
        start += len(line) + 1
    return lines


@dataset.command()
@FILE
@click.option("--name", "display_name", default="", help="For people; default the file's name.")
@label_option
@click.pass_obj
def upload(session: Session, file: Path, display_name: str, labels: dict[str, str]) -> None:
    """Upload FILE unless the server has it, and make a data set of it."""
    with session.client() as weft, session.terminal.transfers() as on_progress:
        made = weft.upload_dataset(
            file, display_name=display_name or file.name, labels=labels, on_progress=on_progress
        )
    session.terminal.show(document_of(made), [made.name])


@dataset.command("list")
@click.pass_obj
def list_datasets(session: Session) -> None:
    """List data sets, the newest first."""
    with session.client() as weft:
        datasets = weft.datasets()
    rows = (
        (
            one.name,
            one.display_name,
            word(DatasetFormat.Name(one.format), "DATASET_FORMAT_") if one.format else "",
            one.num_rows or "",
            size(one.size_bytes),
            short(one.digest),
            when(one.created_ms),
        )
        for one in datasets
    )
    header = ("data set", "name", "format", "rows", "size", "digest", "created")
    session.terminal.show(documents_of(datasets), columns(header, rows))
