"""Runs on one server: how much it can take, and what comes of each run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from weft.bench.errors import NoKnee
from weft.bench.record import Cell, Gap
from weft.bench.suite import Say

from .figures import WEFT, make_cells
from .generator import Target
from .measure import MAX_LATE_MS, is_saturated, late_ms, trim
from .options import ServingOptions
from .outcome import OK, Outcome
from .plan import Run, Setting, Stream
from .rate import FULL, SMALL, find_knee, measure_capacity, of_one_rate
from .script import Arrival, draw_script
from .senders import Senders
from .workloads import SMALL_U, U

DRAIN_S = {True: 10.0, False: 15.0}
"""After a run's last arrival, by whether it is small."""
FLOOD_S = {True: 2.0, False: 60.0}
SMALL_SHARE, STEADY_LOAD = 0.6, 0.7
"""Of its capacity, which small runs take at the load that most workloads run at."""
SWEEP_SHARES = (0.5, 0.7, 0.85, 1.2)


@dataclass(slots=True)
class Found:
    """What the runs have come to.

    Attributes:
        knees: By the shape or the server's base.
    """

    cells: list[Cell] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    knees: dict[str, float] = field(default_factory=dict)
    num_calls: int = 0
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Session:
    """A server that has what its runs ask for."""

    target: Target
    options: ServingOptions
    senders: Senders
    found: Found
    say: Say

    def hold_all(self, setting: Setting, runs: Sequence[Run]) -> None:
        """Hold every run at its load, or sweep it."""
        if self.options.sweep:
            for run in runs:
                self._sweep(run)
            return
        knee = self._find_load(setting)
        for run in runs:
            self._hold(run, knee)

    def _find_load(self, setting: Setting) -> float:
        """The rate that loads are shares of; measured once for a base."""
        base, options = self.target.base, self.options
        if options.rate is not None:
            self.found.knees[base] = options.rate
        if base in self.found.knees:
            return self.found.knees[base]
        self.say("measuring what the server can take")
        if options.small:
            kind = Run("calibration", "small", setting, 1.0, (Stream(SMALL_U, load=1),))
            adapted = replace(kind.streams[0], adapters=setting.adapters)
            self._capacity(kind)  # starts the senders, warms the server
            capacity = self._capacity(replace(kind, seconds=FLOOD_S[True], streams=(adapted,)))
            knee = SMALL_SHARE / STEADY_LOAD * capacity
        else:
            kind = Run("calibration", "base", setting, FLOOD_S[False], (Stream(U, load=1),))
            knee = self._knee(kind)
        self.say(f"knee {knee:.2f} requests/s")
        self.found.knees[base] = knee
        return knee

    def _capacity(self, run: Run) -> float:
        seed, vocab_size = self.options.host.seed, self.target.vocab_size
        return measure_capacity(self._play, run, vocab_size=vocab_size, seed=seed)

    def _knee(self, run: Run) -> float:
        """The knee of a run's own traffic; a small one is found roughly, by short runs."""
        small = self.options.small
        capacity = self._capacity(replace(run, seconds=FLOOD_S[small]))
        return find_knee(
            self._play,
            run,
            SMALL if small else FULL,
            capacity=capacity,
            vocab_size=self.target.vocab_size,
            seed=self.options.host.seed,
        )

    def _sweep(self, run: Run) -> None:
        """Find the knee of a run's traffic, and run it below and beyond."""
        self.say(f"{run.case}: looking for the knee")
        try:
            knee = self.options.rate or self._knee(run)
        except NoKnee as error:
            self.found.gaps.append(Gap(WEFT, run.case, str(error)))
            return
        self.found.cells.append(Cell(WEFT, "knee", "requests/s", [knee], case=run.case))
        seconds = self.options.seconds or (SMALL if self.options.small else FULL).seconds
        for share in SWEEP_SHARES:
            name = f"{run.name}, {share:g} of the knee"
            self._hold(of_one_rate(run, name=name, seconds=seconds), share * knee)

    def _hold(self, run: Run, knee: float) -> None:
        options, found = self.options, self.found
        script = draw_script(
            run, knee=knee, vocab_size=self.target.vocab_size, seed=options.host.seed
        )
        self.say(f"{run.case}: {len(script)} arrivals in {run.seconds:.1f} s")
        outcomes = self._play(script, run.seconds + DRAIN_S[options.small])
        window = trim(run.seconds, small=options.small)
        found.num_calls += len(outcomes)
        found.wrong += wrong_answers(run, outcomes)
        saturated = self._judges_load and is_saturated(outcomes, window)
        latency = not saturated and not run.at_capacity
        found.cells += make_cells(run, outcomes, window, latency=latency)
        if saturated and not run.at_capacity:
            found.gaps.append(Gap(WEFT, run.case, "SATURATED"))
        if not options.small and (late := late_ms(outcomes)) > MAX_LATE_MS:
            reason = f"VOID: the generator was {late:.1f} ms late at p99"
            found.gaps.append(Gap(WEFT, run.case, reason))

    @property
    def _judges_load(self) -> bool:
        """Small runs are too short to be called saturated, unless that is what they are for."""
        return self.options.sweep or not self.options.small

    def _play(self, script: list[Arrival], ends_s: float) -> list[Outcome]:
        return self.senders.play(self.target, script, ends_s=ends_s)


def wrong_answers(run: Run, outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Answers of somebody else, or of another length."""
    for outcome in outcomes:
        if outcome.code == OK and not outcome.is_right:
            yield (
                f"{run.case}: {outcome.resolved or 'the base'} gave {outcome.num_tokens} tokens, "
                f"{outcome.model or 'the base'} was asked for {outcome.wanted}"
            )
