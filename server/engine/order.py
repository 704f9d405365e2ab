"""In which order sequences are served: the least key first.

A class of priority counts as `ageing_s` seconds of waiting. So between two sequences the order
never changes, and everybody is overtaken for a limited time only: nobody starves.
"""

from dataclasses import dataclass

from weft.server.config import SchedulingConfig

from .sequence import Sequence

Key = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """Ranks sequences by class and arrival; with `class_s` 0 by arrival alone."""

    class_s: float

    def age(self, sequence: Sequence) -> Key:
        """Rank among sequences that nothing but class and arrival tells apart."""
        return (
            sequence.submitted_at - sequence.request.priority * self.class_s,
            sequence.arrival,
        )


def make_order(config: SchedulingConfig) -> Order:
    return Order(class_s=config.ageing_s if config.policy == "priority" else 0.0)
