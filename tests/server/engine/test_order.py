"""Whom the policies put first."""

import random

import pytest

from weft.server.channel import Priority
from weft.server.config import SchedulingConfig
from weft.server.engine.order import make_order
from weft.server.engine.sequence import Sequence

from .plans import sequence

LOW = sequence(0, Priority.LOW, submitted_at=0.0)
NORMAL = sequence(1, Priority.NORMAL, submitted_at=4.0)
HIGH = sequence(2, Priority.HIGH, submitted_at=9.0)
TWIN = sequence(3, Priority.HIGH, submitted_at=9.0)


@pytest.mark.parametrize(
    ("policy", "ageing_s", "expected"),
    [
        ("fcfs", 10.0, [LOW, NORMAL, HIGH, TWIN]),
        ("priority", 10.0, [HIGH, TWIN, NORMAL, LOW]),
        ("priority", 4.5, [NORMAL, LOW, HIGH, TWIN]),
        ("priority", 1.0, [LOW, NORMAL, HIGH, TWIN]),
    ],
)
def test_a_class_counts_as_so_much_waiting(
    policy: str, ageing_s: float, expected: list[Sequence]
) -> None:
    order = make_order(SchedulingConfig(policy=policy, ageing_s=ageing_s))
    shuffled = random.Random(0).sample(expected, len(expected))
    assert sorted(shuffled, key=order.age) == expected
