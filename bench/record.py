"""What a run leaves behind: every figure with its samples, its floor and its conditions."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from statistics import median
from typing import NamedTuple

from .contest import spread_of
from .floors import Ceilings
from .goals import Verdict
from .machine import Source, load_average

Value = str | int | float
TIMES = ("ms", "µs")


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
        case: What it was measured on; "" where the suite has one case.
        parameters: Of the case.
        launch_floor: What as many empty kernels take, in the figure's unit.
        error: Of the contender's results against the definition, before it was timed.
    """

    contender: str
    figure: str
    unit: str
    samples: Sequence[float]
    floor: float | None = None
    case: str = ""
    parameters: Mapping[str, Value] = field(default_factory=dict)
    launch_floor: float | None = None
    error: float | None = None

    @property
    def median(self) -> float:
        return median(self.samples)

    @property
    def spread(self) -> float:
        return spread_of(self.samples)

    @property
    def over_floor(self) -> float | None:
        """How many times the least possible time was taken."""
        if self.floor is None:
            return None
        is_time = self.unit in TIMES
        return self.median / self.floor if is_time else self.floor / self.median


@dataclass(frozen=True, slots=True)
class Gap:
    """A contender without figures in a case: `not installed`, `n/a (why)` or `WRONG err=…`."""

    contender: str
    case: str
    reason: str


@dataclass(frozen=True, slots=True)
class Ratio:
    """One contender's figure over another's, round by round."""

    above: str
    below: str
    figure: str
    rounds: Sequence[float]
    case: str = ""

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


class Invocation(NamedTuple):
    """What a run writes of itself: the command line and what a person says of the machine."""

    command: str
    source: Source
    note: str


@dataclass(frozen=True, slots=True)
class Beginning:
    """When a run began, and how busy the machine was; its conditions are made at its end."""

    started: datetime = field(default_factory=partial(datetime.now, UTC))
    clock_s: float = field(default_factory=time.monotonic)
    load: float = field(default_factory=load_average)

    def conditions(
        self,
        *,
        command: str,
        source: Source,
        note: str,
        seed: int,
        hardware: Mapping[str, Value],
        versions: Mapping[str, str],
        ceilings: Ceilings,
    ) -> Conditions:
        return Conditions(
            command=command,
            source=source,
            seed=seed,
            started=self.started,
            seconds=time.monotonic() - self.clock_s,
            note=note,
            load_average=(self.load, load_average()),
            hardware=hardware,
            versions=versions,
            ceilings=ceilings,
        )


@dataclass(frozen=True, slots=True)
class Record:
    """One run of one suite, or of a slice of it.

    Attributes:
        part: Which slice, as `1of4`; "" = the whole suite.
        num_left: Cases that the time was too short for.
    """

    suite: str
    conditions: Conditions
    parameters: Mapping[str, Value]
    checks: Sequence[Check]
    cells: Sequence[Cell]
    ratios: Sequence[Ratio]
    loads: Sequence[Loads]
    verdicts: Sequence[Verdict]
    gaps: Sequence[Gap] = ()
    part: str = ""
    num_left: int = 0

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
