"""One case of `weft bench kernels`: results are checked first, then the right ones are timed."""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from statistics import fmean, median
from typing import NamedTuple

import torch
from torch import Tensor

from .contest import alternate
from .errors import NotApplicable, PeerMissing
from .floors import Ceilings, Work
from .record import Cell, Gap, Ratio, Value
from .stopwatch import Stopwatch, do_nothing

log = logging.getLogger(__name__)

Run = Callable[[], object]
Samples = list[float]
Sampler = Callable[[Run, Run, int], Samples]

OURS = "weft"
COLD, WARM, EAGER = "graph", "warm", "eager"
ROUNDS = 3
OTHER_ROUNDS = 1
COLD_SAMPLES = 9  # a visit: 54 in all rounds, there and back
OTHER_SAMPLES = 5
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1e-2}
WRONG, FAILED = "WRONG", "failed"


@dataclass(frozen=True, slots=True)
class Trial:
    """A contender that is ready to run one case.

    Attributes:
        run: What is timed; it writes into buffers that stay where they are.
        reset: Puts back what `run` changed.
        error_of: Runs what it is given in place of `run`, and compares what it wrote with the
            definition, as `relative_error` does.
        work: What it cannot avoid; None where no floor is stated.
        num_launches: Kernels of ours; None where nobody counted them.
        eager: What is timed without a graph; None = `run`.
    """

    run: Run
    reset: Run
    error_of: Callable[[Run], float]
    work: Work | None = None
    num_launches: int | None = None
    eager: Run | None = None


class Kept:
    """The result of an op that returns a new tensor, called or captured last."""

    def __init__(self, op: Callable[[], Tensor]) -> None:
        self._op = op
        self._result: Tensor | None = None

    def run(self) -> None:
        self._result = self._op()

    def error_of(self, run: Run, wanted: Tensor) -> float:
        """Of what `run` leaves behind; what it does not write is NaN."""
        if self._result is not None:
            self._result.fill_(math.nan)
        run()
        assert self._result is not None
        return relative_error(self._result, wanted)


def trial_of(
    op: Callable[[], Tensor], wanted: Tensor, work: Work, *, reset: Run = do_nothing
) -> Trial:
    """A trial of an op that returns its result, in one launch; `reset` comes before every run."""
    kept = Kept(op)

    def error_of(run: Run) -> float:
        reset()
        return kept.error_of(run, wanted)

    return Trial(kept.run, reset, error_of, work, num_launches=1)


@dataclass(frozen=True, slots=True)
class Case:
    """Contenders by name, each made when its turn comes.

    A maker raises PeerMissing or NotApplicable.
    """

    name: str
    parameters: Mapping[str, Value]
    tolerance: float
    makers: Mapping[str, Callable[[], Trial]]


@dataclass(slots=True)
class Outcome:
    """What came of some cases. `errors` has the right results, by contender and case."""

    cells: list[Cell] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)
    errors: dict[tuple[str, str], float] = field(default_factory=dict)

    def add(self, other: "Outcome") -> None:
        self.cells += other.cells
        self.gaps += other.gaps
        self.ratios += other.ratios
        self.errors |= other.errors


def run_case(case: Case, stopwatch: Stopwatch | None, ceilings: Ceilings) -> Outcome:
    """Check every contender, and time those that are right; without a stopwatch, check only."""
    outcome = Outcome()
    ready: dict[str, _Ready] = {}
    for name, make in case.makers.items():
        try:
            found = _prepare(make(), stopwatch)
        except PeerMissing:
            outcome.gaps.append(Gap(name, case.name, "not installed"))
        except NotApplicable as reason:
            outcome.gaps.append(Gap(name, case.name, f"n/a ({reason})"))
        except Exception as failure:
            log.exception("%s failed in %s", name, case.name)
            outcome.gaps.append(Gap(name, case.name, f"{FAILED} ({type(failure).__name__})"))
        else:
            if found.error <= case.tolerance:
                outcome.errors[name, case.name] = found.error
                ready[name] = found
            else:
                outcome.gaps.append(Gap(name, case.name, f"{WRONG} err={found.error:.1e}"))
    if stopwatch is not None and ready:
        _time(case, ready, stopwatch, ceilings, outcome)
    return outcome


class _Ready(NamedTuple):
    trial: Trial
    replay: Run
    error: float

    @property
    def eager(self) -> Run:
        return self.trial.eager or self.trial.run


def _prepare(trial: Trial, stopwatch: Stopwatch | None) -> _Ready:
    """Run once as it is, and once as it is timed."""
    error, replay = trial.error_of(trial.run), trial.run
    if stopwatch is not None:
        replay = stopwatch.capture(trial.run)
        error = max(error, trial.error_of(replay))
    return _Ready(trial, replay, error)


def relative_error(found: Tensor, wanted: Tensor) -> float:
    """‖found - wanted‖ / ‖wanted‖, or the error itself where nothing is wanted; no NaN passes."""
    error = float((found - wanted).norm()) / (float(wanted.norm()) or 1.0)
    return math.inf if math.isnan(error) else error


def _time(
    case: Case,
    ready: Mapping[str, _Ready],
    stopwatch: Stopwatch,
    ceilings: Ceilings,
    outcome: Outcome,
) -> None:
    def visits(sample: Sampler, num: int, *, replayed: bool) -> dict[str, Callable[[], Samples]]:
        return {
            name: partial(sample, own.replay if replayed else own.eager, own.trial.reset, num)
            for name, own in ready.items()
        }

    results = {
        COLD: alternate(visits(stopwatch.cold_us, COLD_SAMPLES, replayed=True), ROUNDS),
        WARM: alternate(visits(stopwatch.warm_us, OTHER_SAMPLES, replayed=True), OTHER_ROUNDS),
        EAGER: alternate(visits(stopwatch.eager_us, OTHER_SAMPLES, replayed=False), OTHER_ROUNDS),
    }
    for figure, by_name in results.items():
        for name, rounds in by_name.items():
            samples = [sample for there, back in rounds for sample in (*there, *back)]
            outcome.cells.append(_cell(case, name, figure, samples, ready[name], ceilings))
    outcome.ratios += _ratios(case, results[COLD])


def _cell(
    case: Case, name: str, figure: str, samples: Samples, own: _Ready, ceilings: Ceilings
) -> Cell:
    work, launches = own.trial.work, own.trial.num_launches
    return Cell(
        name,
        figure,
        "µs",
        samples,
        floor=None if work is None else 1e6 * work.floor_s(ceilings),
        case=case.name,
        parameters={**case.parameters, **({} if work is None else asdict(work))},
        launch_floor=None if launches is None else ceilings.launches_us[launches - 1],
        error=own.error,
    )


def _ratios(case: Case, cold: Mapping[str, Sequence[tuple[Samples, Samples]]]) -> Iterator[Ratio]:
    """Everyone's time over ours, round by round."""
    means = {name: [fmean(map(median, pair)) for pair in rounds] for name, rounds in cold.items()}
    ours = means.pop(OURS, None)
    if ours is None:
        return
    for name, theirs in means.items():
        rounds = [a / b for a, b in zip(theirs, ours, strict=True)]
        yield Ratio(name, OURS, COLD, rounds, case=case.name)
