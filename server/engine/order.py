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

HIGHEST = max(Priority)

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
        age = self.age(sequence)
        if not self.shares:
            return age
        request = sequence.request
        tenant_us, adapter_us = self.ledger.taken_us(request.salt, request.digest)
        gained = int((now - sequence.submitted_at) / self.class_s)
        return tenant_us, -min(HIGHEST, request.priority + gained), adapter_us, *age

    def age(self, sequence: Sequence) -> Key:
        """Rank among sequences of one tenant and adapter."""
        request = sequence.request
        return sequence.submitted_at - request.priority * self.class_s, sequence.arrival


def make_order(config: SchedulingConfig, ledger: Ledger) -> Order:
    class_s = 0.0 if config.policy == "fcfs" else config.ageing_s
    return Order(class_s, config.policy == "fair", ledger)
