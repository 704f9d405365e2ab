"""What a run leaves behind: every figure with its samples, its floor and its conditions."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from statistics import median

from .contest import spread_of
from .floors import Ceilings
from .goals import Verdict
from .machine import Source

Value = str | int | float


@dataclass(frozen=True, slots=True)
class Check:
    """Something that had to hold before anything was timed."""

    name: str
    holds: bool
    text: str
    values: Mapping[str, Value]

    def __str__(self) -> str:
        return f"{self.name}: {'holds' if self.holds else 'WRONG'}  {self.text}"


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure of one contender.

    Attributes:
        floor: What the ceilings allow, in the figure's unit.
        over_floor: How many times the least possible time was taken.
    """

    contender: str
    figure: str
    unit: str
    samples: Sequence[float]
    floor: float | None = None

    @property
    def median(self) -> float:
        return median(self.samples)

    @property
    def over_floor(self) -> float | None:
        if self.floor is None:
            return None
        is_time = self.unit == "ms"
        return self.median / self.floor if is_time else self.floor / self.median


@dataclass(frozen=True, slots=True)
class Ratio:
    """One contender's figure over another's, round by round."""

    above: str
    below: str
    figure: str
    rounds: Sequence[float]

    @property
    def median(self) -> float:
        return median(self.rounds)


@dataclass(frozen=True, slots=True)
class Loads:
    """Loads of adapters of one rank, each alone: from the page cache until its row is written."""

    rank: int
    num_bytes: int
    samples_ms: Sequence[float]

    @property
    def median_ms(self) -> float:
        return median(self.samples_ms)

    @property
    def gigabytes_s(self) -> float:
        return self.num_bytes / self.median_ms / 1e6


@dataclass(frozen=True, slots=True)
class Conditions:
    """Under which circumstances the figures came about.

    Attributes:
        note: What the person who ran it says of the machine.
        load_average: Over a minute, at the start and at the end.
    """

    command: str
    source: Source
    seed: int
    started: datetime
    seconds: float
    note: str
    load_average: tuple[float, float]
    hardware: Mapping[str, Value]
    versions: Mapping[str, str]
    ceilings: Ceilings


@dataclass(frozen=True, slots=True)
class Record:
    """One run of one suite."""

    suite: str
    conditions: Conditions
    parameters: Mapping[str, Value]
    checks: Sequence[Check]
    cells: Sequence[Cell]
    ratios: Sequence[Ratio]
    loads: Sequence[Loads]
    verdicts: Sequence[Verdict]

    @property
    def holds(self) -> bool:
        return all(check.holds for check in self.checks)

    def ratio(self, above: str, below: str, figure: str) -> float:
        """The median over the rounds."""
        return next(
            ratio.median
            for ratio in self.ratios
            if (ratio.above, ratio.below, ratio.figure) == (above, below, figure)
        )


def write_record(record: Record, folder: Path) -> Path:
    """Write it as `<date>-<commit>-<suite>.json`, with a number if that is taken."""
    folder.mkdir(parents=True, exist_ok=True)
    conditions = record.conditions
    name = f"{conditions.started:%Y-%m-%d}-{conditions.source.commit}-{record.suite}"
    text = json.dumps(to_json(record), indent=1, allow_nan=False) + "\n"
    for number in count(1):
        path = folder / (f"{name}.json" if number == 1 else f"{name}-{number}.json")
        try:
            with path.open("x") as file:
                file.write(text)
        except FileExistsError:
            continue
        return path
    raise AssertionError("count ends never")


def to_json(record: Record) -> dict[str, object]:
    """Everything in the record, and what derives from the samples."""
    conditions = asdict(record.conditions) | {
        "source": record.conditions.source._asdict(),
        "started": record.conditions.started.isoformat(timespec="seconds"),
    }
    return {
        "suite": record.suite,
        "conditions": conditions,
        "parameters": dict(record.parameters),
        "checks": [asdict(check) for check in record.checks],
        "cells": [
            asdict(cell)
            | {
                "median": cell.median,
                "spread": spread_of(cell.samples),
                "over_floor": cell.over_floor,
            }
            for cell in record.cells
        ],
        "ratios": [asdict(ratio) | {"median": ratio.median} for ratio in record.ratios],
        "loads": [
            asdict(load) | {"median_ms": load.median_ms, "gigabytes_s": load.gigabytes_s}
            for load in record.loads
        ],
        "verdicts": [asdict(verdict) for verdict in record.verdicts],
    }
