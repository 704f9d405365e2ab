"""A record as JSON, an entry per line; the `.md` and the `.svg` beside it derive from it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import TypeVar, cast

from .floors import Ceilings
from .goals import Verdict
from .machine import Source
from .plot import draw_record
from .record import Cell, Check, Conditions, Gap, Loads, Ratio, Record, Value
from .table import write_table

Entry = Mapping[str, object]
Kind = TypeVar("Kind")


def store_record(record: Record, folder: Path) -> Path:
    """Write `<date>-<commit>-<suite>.json`, with a number if that is taken, its table and plot."""
    folder.mkdir(parents=True, exist_ok=True)
    conditions = record.conditions
    name = f"{conditions.started:%Y-%m-%d}-{conditions.source.commit}-{record.suite}"
    if record.part:
        name += f"-{record.part}"
    for number in count(1):
        path = folder / (f"{name}.json" if number == 1 else f"{name}-{number}.json")
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(to_json(record))
        except FileExistsError:
            continue
        derive_files(record, path)
        return path
    raise AssertionError("count ends never")


def derive_files(record: Record, path: Path) -> None:
    """Write the table and the plot of a record beside its JSON."""
    path.with_suffix(".md").write_text(write_table(record), encoding="utf-8")
    path.with_suffix(".svg").write_text(draw_record(record), encoding="utf-8")


def read_record(path: Path) -> Record:
    """Read what `store_record` wrote.

    Raises:
        ValueError: It is no record.
    """
    try:
        return from_json(path.read_text(encoding="utf-8"))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no record: {error!r}") from error


def to_json(record: Record) -> str:
    """Everything in the record, and what derives from the samples."""
    conditions = asdict(record.conditions) | {
        "source": record.conditions.source._asdict(),
        "started": record.conditions.started.isoformat(timespec="seconds"),
    }
    content = {
        "suite": record.suite,
        "part": record.part,
        "num_left": record.num_left,
        "conditions": conditions,
        "parameters": dict(record.parameters),
        "checks": [asdict(check) for check in record.checks],
        "cells": [
            asdict(cell)
            | {"median": cell.median, "spread": cell.spread, "over_floor": cell.over_floor}
            for cell in record.cells
        ],
        "gaps": [asdict(gap) for gap in record.gaps],
        "ratios": [asdict(ratio) | {"median": ratio.median} for ratio in record.ratios],
        "loads": [
            asdict(load) | {"median_ms": load.median_ms, "gigabytes_s": load.gigabytes_s}
            for load in record.loads
        ],
        "verdicts": [asdict(verdict) for verdict in record.verdicts],
    }
    lines = (f" {_dump(key)}: {_spread_out(value)}" for key, value in content.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def from_json(text: str) -> Record:
    """The record of `to_json`, or of an older one that lacks what has a default."""
    content = json.loads(text)
    conditions = content["conditions"]
    conditions["source"] = Source(**conditions["source"])
    conditions["started"] = datetime.fromisoformat(conditions["started"])
    conditions["ceilings"] = _make(Ceilings, conditions["ceilings"])
    return Record(
        suite=str(content["suite"]),
        conditions=_make(Conditions, conditions),
        parameters=cast(Mapping[str, Value], content["parameters"]),
        checks=_make_all(Check, content["checks"]),
        cells=_make_all(Cell, content["cells"]),
        ratios=_make_all(Ratio, content["ratios"]),
        loads=_make_all(Loads, content["loads"]),
        verdicts=_make_all(Verdict, content["verdicts"]),
        gaps=_make_all(Gap, content.get("gaps", [])),
        part=content.get("part", ""),
        num_left=content.get("num_left", 0),
    )


def _make(kind: type[Kind], entry: Entry) -> Kind:
    """Take the fields of a class, and leave what derives from them."""
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in entry.items() if name in names})


def _make_all(kind: type[Kind], entries: Sequence[Entry]) -> list[Kind]:
    return [_make(kind, entry) for entry in entries]


def _spread_out(value: object) -> str:
    """A list or an object with each of its entries on one line."""
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(f"  {_dump(entry)}" for entry in value) + "\n ]"
    if isinstance(value, dict) and value:
        entries = (f"  {_dump(key)}: {_dump(entry)}" for key, entry in value.items())
        return "{\n" + ",\n".join(entries) + "\n }"
    return _dump(value)


def _dump(value: object) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False)
