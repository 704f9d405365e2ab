"""Whom the policies put first."""

import random

import pytest

from weft.server.channel import Priority
from weft.server.engine.sequence import Sequence

from .plans import order_of, sequence

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
    order = order_of(policy, ageing_s=ageing_s)
    shuffled = random.Random(0).sample(expected, len(expected))
    assert sorted(shuffled, key=order.age) == expected


def test_fair_goes_by_tenant_then_class_then_adapter_then_arrival() -> None:
    order = order_of("fair")
    heavy = sequence(0, Priority.HIGH, tenant="heavy", digest="a")
    hot, cold, late, high = (
        sequence(arrival, priority, tenant="light", digest=digest)
        for arrival, priority, digest in [
            (1, Priority.NORMAL, "hot"),
            (2, Priority.NORMAL, "cold"),
            (3, Priority.NORMAL, "cold"),
            (4, Priority.HIGH, "hot"),
        ]
    )
    for each in (heavy, hot, cold):
        order.ledger.enter(each)
    for each, us in ((heavy, 90.0), (hot, 50.0), (cold, 20.0)):
        order.ledger.charge(each, us)
    found = sorted([heavy, hot, cold, late, high], key=lambda s: order.key(s, now=0.0))
    assert found == [high, cold, late, hot, heavy]


def test_waiting_raises_the_class_to_the_highest_and_no_further() -> None:
    order = order_of("fair")
    old, older = sequence(9, Priority.LOW), sequence(8, Priority.LOW, digest="hot")
    order.ledger.enter(old)
    order.ledger.enter(older)
    order.ledger.charge(older, 5.0)
    early, late = sequence(10, submitted_at=9.5), sequence(11, submitted_at=10.5)
    high = sequence(12, Priority.HIGH, submitted_at=999.0)
    assert order.key(early, now=11.0) < order.key(old, now=11.0) < order.key(late, now=11.0)
    assert order.key(old, now=1000.0) < order.key(high, now=1000.0)
    assert order.key(high, now=1000.0) < order.key(older, now=1000.0)
