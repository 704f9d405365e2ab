"""What became of a call, as its client saw it. Times are seconds since the run's begin."""

from dataclasses import dataclass, field
from typing import NamedTuple

OK = "OK"
CUT = "CUT"
"""The code of a call that had not ended when the run was over."""


class Delivery(NamedTuple):
    """A message that brought tokens."""

    at_s: float
    num_tokens: int


@dataclass(slots=True)
class Outcome:
    """One call.

    Attributes:
        due_s: When it was to be sent.
        wanted: Tokens that were asked for.
        code: OK, CUT, or the reason that the server gave.
        tier: Where the adapter lay: `gpu`, `host`, `disk` or `store`; empty for the base.
    """

    group: str
    tenant: int
    model: str | None
    due_s: float
    prompt_tokens: int
    wanted: int
    sent_s: float = 0.0
    deliveries: list[Delivery] = field(default_factory=list)
    ended_s: float | None = None
    code: str = CUT
    resolved: str = ""
    tier: str = ""
    cached_tokens: int = 0
    load_ms: float = 0.0
    queue_ms: float = 0.0

    @property
    def late_s(self) -> float:
        return self.sent_s - self.due_s

    @property
    def num_tokens(self) -> int:
        return sum(delivery.num_tokens for delivery in self.deliveries)

    @property
    def is_right(self) -> bool:
        """Whether whoever was asked has answered, and at full length."""
        return self.resolved == (self.model or "") and self.num_tokens == self.wanted
