"""The queue: groups, their order, and who is passed over."""

from weft.server.channel import Priority
from weft.server.engine.sequence import State
from weft.server.engine.waiting import Candidates, Waiting

from .plans import order_of, sequence


def make_waiting(*groups: tuple[str, str | None], policy: str = "fcfs") -> Waiting:
    """A queue with a sequence of each tenant and digest, in order of arrival."""
    waiting = Waiting(order_of(policy))
    for arrival, (tenant, digest) in enumerate(groups):
        waiting.add(sequence(arrival, tenant=tenant, digest=digest))
    return waiting


def candidates_of(
    waiting: Waiting, *, closed: frozenset[str] = frozenset(), policy: str = "fcfs"
) -> Candidates:
    return Candidates(order_of(policy), waiting.open_groups(9.0, {"a", "b"} - closed), now=9.0)


def taken(
    waiting: Waiting, *, closed: frozenset[str] = frozenset(), policy: str = "fcfs"
) -> list[int]:
    """Arrivals of the candidates, each taken out as it comes."""
    arrivals = []
    candidates = candidates_of(waiting, closed=closed, policy=policy)
    while (candidate := candidates.first()) is not None:
        waiting.remove(candidate)
        waiting.check_integrity()
        arrivals.append(candidate.arrival)
    return arrivals


def test_groups_are_merged_in_their_order() -> None:
    waiting = make_waiting(("x", "a"), ("y", None), ("x", "a"), ("x", "b"), ("y", None))
    assert taken(waiting) == [0, 1, 2, 3, 4]
    assert waiting.by_arrival == []


def test_group_of_a_closed_adapter_loads_while_others_go() -> None:
    waiting = make_waiting(("x", "a"), ("y", "a"), ("x", None), ("x", "a"))
    assert taken(waiting, closed=frozenset("a")) == [2]
    assert {(s.state, s.loading_since) for s in waiting.by_arrival} == {(State.LOADING, 9.0)}
    assert taken(waiting) == [0, 1, 3]


def test_sequence_that_comes_back_takes_its_place_again() -> None:
    waiting = make_waiting(("x", "a"), ("x", "a"), ("x", "a"))
    first = waiting.by_arrival[0]
    waiting.remove(first)
    waiting.add(first)
    waiting.check_integrity()
    assert taken(waiting) == [0, 1, 2]


def test_a_class_goes_before_the_rest_of_its_group() -> None:
    waiting = make_waiting(("x", "a"), ("x", "a"), policy="priority")
    waiting.add(sequence(2, Priority.HIGH, tenant="x", digest="a"))
    assert taken(waiting, policy="priority") == [2, 0, 1]
