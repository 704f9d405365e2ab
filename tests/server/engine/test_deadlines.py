from weft.server.engine.deadlines import Deadlines
from weft.server.engine.sequence import State

from .plans import sequence


def test_deadlines_are_told_once_for_the_living() -> None:
    deadlines = Deadlines()
    all_five = [sequence(i, deadline=at) for i, at in enumerate((5.0, 3.0, 9.0, None, 2.0))]
    for one in all_five:
        deadlines.add(one)
    all_five[4].state = State.FINISHED
    assert [s.arrival for s in deadlines.passed(6.0)] == [1, 0]
    assert list(deadlines.passed(6.0)) == []
