"""Stored records again: a list of them, slices of a run as one, the difference of two commits."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from .engine.goals import judge_engine
from .goals import Verdict
from .kernel_goals import judge_kernels
from .markdown import align_table
from .record import Cell, Record
from .record_file import read_record
from .table import is_of_engine, is_of_kernels

Key = tuple[str, str, str]


def list_records(folder: Path) -> str:
    """A line for every record of a folder, with what it found."""
    rows = [
        (path.name, f"{record.conditions.seconds / 60:.1f}", _headline(record))
        for path in sorted(folder.glob("*.json"))
        for record in [read_record(path)]
    ]
    return "\n".join(align_table(["record", "minutes:", "found"], rows)) + "\n"


def _headline(record: Record) -> str:
    if not record.holds:
        return "WRONG results"
    if record.verdicts:
        return "; ".join(str(verdict) for verdict in record.verdicts[:1])
    if record.ratios:
        ratio = record.ratios[0]
        return f"{ratio.above} / {ratio.below} {ratio.median:.2f}"
    return f"{len(record.cells)} figures"


def are_slices(records: Sequence[Record]) -> bool:
    """Whether records are parts of one suite on one commit and machine, no figure in two."""
    runs = {(record.suite, record.conditions.source, _machine(record)) for record in records}
    keys = [key for record in records for key in _by_key(record)]
    return len(runs) == 1 and len(set(keys)) == len(keys)


def merge_slices(records: Sequence[Record]) -> Record:
    """One record of all figures; conditions are the first slice's, times those of all."""
    first = min(records, key=lambda record: record.conditions.started)
    seconds = sum(record.conditions.seconds for record in records)
    whole = replace(
        first,
        part="",
        conditions=replace(first.conditions, seconds=seconds),
        checks=[check for record in records for check in record.checks],
        cells=[cell for record in records for cell in record.cells],
        gaps=[gap for record in records for gap in record.gaps],
        ratios=[ratio for record in records for ratio in record.ratios],
        loads=[loads for record in records for loads in record.loads],
        num_left=sum(record.num_left for record in records),
    )
    return replace(whole, verdicts=_judge(whole))


def _judge(record: Record) -> Sequence[Verdict]:
    """The goals by all figures; of a suite that has no slices, as they were."""
    hardware = record.conditions.hardware
    if is_of_kernels(record):
        return judge_kernels(record.cells, record.ratios, hardware=hardware)
    if is_of_engine(record):
        shape = str(record.parameters["shape"])
        return judge_engine(record.cells, record.ratios, shape=shape, hardware=hardware)
    return record.verdicts


def compare_records(before: Record, after: Record) -> str:
    """The difference per figure that both have, as times the floor of its own run.

    Absolute figures of two runs are shown, and never divided by one another. What is within the
    larger spread of the two is no difference.

    Raises:
        ValueError: The records are of different suites.
    """
    if before.suite != after.suite:
        raise ValueError(f"{before.suite} and {after.suite} have no figure in common")
    pairs = _pairs(before, after)
    rows = [_difference(old, new) for old, new in pairs]
    lines = [
        f"# {before.suite}: {_name(before)} and {_name(after)}",
        "",
        *_warnings(before, after),
        *align_table(
            ["case", "contender", "figure", "before:", "after:", "unit", "x floor:", "then:", ""],
            rows,
        ),
        "",
        f"{len(rows)} figures, {sum(not row[-1].startswith('no') for row in rows)} differ",
    ]
    return "\n".join(lines) + "\n"


def _warnings(before: Record, after: Record) -> Iterator[str]:
    if _machine(before) != _machine(after):
        yield "* The machines differ: only what is divided by a floor compares."
    if before.conditions.source == after.conditions.source:
        yield "* One commit: what differs is the spread of a version against itself."


def _pairs(before: Record, after: Record) -> list[tuple[Cell, Cell]]:
    old, new = _by_key(before), _by_key(after)
    return [
        (cell, new[key])
        for key, cell in old.items()
        if key in new and cell.floor is not None and new[key].floor is not None
    ]


def _difference(old: Cell, new: Cell) -> tuple[str, ...]:
    assert old.over_floor is not None
    assert new.over_floor is not None
    change = new.over_floor / old.over_floor - 1
    spread = max(old.spread, new.spread)
    if abs(change) <= spread:
        verdict = f"no difference (spread {spread:.0%})"
    else:
        verdict = f"{abs(change):.0%} {'slower' if change > 0 else 'faster'}"
    return (
        old.case,
        old.contender,
        old.figure,
        f"{old.median:,.1f}",
        f"{new.median:,.1f}",
        old.unit,
        f"{old.over_floor:.2f}",
        f"{new.over_floor:.2f}",
        verdict,
    )


def _by_key(record: Record) -> dict[Key, Cell]:
    return {(cell.case, cell.contender, cell.figure): cell for cell in record.cells}


def _machine(record: Record) -> tuple[object, object]:
    hardware = record.conditions.hardware
    return hardware["cpu"], hardware.get("gpu")


def _name(record: Record) -> str:
    conditions = record.conditions
    return f"{conditions.source.commit} ({conditions.started:%F %H:%M})"
