"""In which order sequences are served: the least key first.

    fcfs        arrival
    priority    class, then arrival
    fair        tenant by what it has taken, then class, then adapter by the same, then arrival

A class of priority counts as `ageing_s` seconds of waiting. So between two sequences of one tenant
and adapter the order never changes, and whoever waits is overtaken for a limited time only.
"""

from dataclasses import dataclass

from weft.server.channel import Priority
from weft.server.config import SchedulingConfig

from .ledger import Ledger
from .sequence import Sequence

Key = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """Ranks sequences.

    Attributes:
        class_s: Seconds of waiting that a class counts as; 0 where classes do not count.
        shares: Whether it counts what tenants and adapters have taken.
    """

    class_s: float
    shares: bool
    ledger: Ledger

    def key(self, sequence: Sequence, now: float) -> Key:
        """Rank among all sequences."""
        if not self.shares:
            return self.age(sequence)
        tenant_us, adapter_us = self.ledger.taken_us(sequence)
        return tenant_us, -self._class_of(sequence, now), adapter_us, *self.age(sequence)

    def age(self, sequence: Sequence) -> Key:
        """Rank among sequences of one tenant and adapter."""
        request = sequence.request
        return sequence.submitted_at - request.priority * self.class_s, sequence.arrival

    def _class_of(self, sequence: Sequence, now: float) -> int:
        """Class that waiting has brought it to."""
        gained = int((now - sequence.submitted_at) / self.class_s)
        return min(Priority.HIGH, sequence.request.priority + gained)


def make_order(config: SchedulingConfig, ledger: Ledger) -> Order:
    class_s = 0.0 if config.policy == "fcfs" else config.ageing_s
    return Order(class_s, config.policy == "fair", ledger)
