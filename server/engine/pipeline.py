"""Steps one behind the other: where the device runs ahead, one is launched before the last is read.

What a step draws stays on the device, and the step after it takes its tokens from there; the host
reads them while that one runs. A sequence that turns out to have ended has a row in it all the
same, whose draw is passed over, as is that of one which was preempted since. Their blocks may go to
others at once, for whatever these write is launched later on the same stream; the adapters' memory
has another writer, so before that is touched the step in flight is awaited (`Loads`).
"""

import logging
import time

import torch

from .delivery import Delivery
from .figures import Figures
from .lookup import Speculation
from .plan import Plan
from .runner import Flight, Runner
from .scheduler import Scheduler
from .step_time import StepTime
from .streams import Streams

logger = logging.getLogger(__name__)


class Pipeline:
    """Plans steps, launches them, and delivers what they draw; at most one is left in flight."""

    def __init__(
        self,
        runner: Runner,
        scheduler: Scheduler,
        streams: Streams,
        *,
        delivery: Delivery,
        speculation: Speculation,
        step_time: StepTime,
        figures: Figures,
        runs_ahead: bool,
    ) -> None:
        """Start with nothing in flight.

        Args:
            runs_ahead: Leave a step in flight, and let the next follow it if it can.
        """
        self._runner = runner
        self._scheduler = scheduler
        self._streams = streams
        self._delivery = delivery
        self._speculation = speculation
        self._step_time = step_time
        self._figures = figures
        self._runs_ahead = runs_ahead
        self._flight: Flight | None = None
        self._landed_at = 0.0

    def step(self, now: float) -> bool:
        """Launch a step and land the one before; False if there was neither."""
        before = self._flight
        if before is not None and not self._scheduler.can_follow(before.plan):
            self.land()
        after = None if self._flight is None else self._flight.plan
        plan = self._speculation.extend(self._scheduler.plan(now, after=after))
        launched = self._launch(plan, now) if plan.chunks else None
        self.land()
        self._flight = launched
        if not self._runs_ahead:
            self.land()
        return before is not None or bool(plan.chunks)

    def land(self) -> None:
        """Wait for the step in flight, if there is one, and deliver what it drew."""
        flight, self._flight = self._flight, None
        if flight is None:
            return
        plan, kind = flight.plan, flight.plan.kind
        self._delivery.deliver(plan, flight.draws.read(), flight.continued)
        now = time.monotonic()
        seconds = now - max(flight.since, self._landed_at)
        self._landed_at = now
        self._step_time.observe(plan.num_tokens, plan.kv_tokens, seconds)
        self._figures.count_step(plan, kind=kind, seconds=seconds)

    def _launch(self, plan: Plan, now: float) -> Flight | None:
        """Launch a step; None if it could not be, which fails its sequences."""
        try:
            flight = self._runner.launch(plan, after=self._flight, now=now)
        except torch.AcceleratorError:
            raise  # the device is lost to this process
        except Exception:
            logger.exception("a step of %d sequences failed", len(plan.chunks))
            for chunk in plan.chunks:
                self._streams.fail(chunk.sequence, "STEP_FAILED", "the engine's step failed")
            return None
        self._scheduler.launched(plan)
        return flight
