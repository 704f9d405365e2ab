"""A window in which admissions gather, so that a step has more rows to share its cost."""

from collections.abc import Collection
from dataclasses import dataclass

from weft.server.config import SchedulingConfig

from .sequence import Sequence


@dataclass(frozen=True, slots=True)
class Window:
    """Holds admissions back for `seconds`, or until `tokens` have gathered; decodes go on."""

    seconds: float
    tokens: int

    def opens_at(self, waiting: Collection[Sequence], *, now: float, wait_s: float) -> float:
        """When admission may begin for those that wait, one at least.

        Args:
            wait_s: Predicted time to their first tokens: no deadline is missed for the window.
        """
        if sum(len(sequence.tokens) for sequence in waiting) >= self.tokens:
            return now
        deadlines = [s.request.deadline for s in waiting if s.request.deadline is not None]
        passes_at = min(sequence.submitted_at for sequence in waiting) + self.seconds
        return min([passes_at, *(deadline - wait_s for deadline in deadlines)])


def make_window(config: SchedulingConfig, *, tokens: int) -> Window | None:
    """Make the window that is asked for; `tokens` are enough where nothing else is said."""
    if config.window_ms is None:
        return None
    return Window(config.window_ms / 1000, config.window_tokens or tokens)
