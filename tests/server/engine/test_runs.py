"""Runs of the arena against a plain map of its elements."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.server.engine.runs import Runs, Window

ALIGNMENT = 4


def test_window_covers_free_room_and_the_runs_in_it() -> None:
    runs = Runs(20, alignment=ALIGNMENT)
    runs.put("a", at=4, size=4)
    runs.put("b", at=12, size=3)
    assert list(runs.windows(4)) == [Window(0, 4, ()), Window(8, 4, ()), Window(16, 4, ())]
    assert list(runs.windows(5)) == [Window(0, 8, ("a",)), Window(8, 8, ("b",))]
    assert list(runs.windows(20)) == [Window(0, 20, ("a", "b"))]
    assert list(runs.windows(21)) == []


def test_sizes_are_rounded_up_to_the_alignment() -> None:
    runs = Runs(8, alignment=ALIGNMENT)
    runs.put("a", at=0, size=1)
    assert runs.used == 4
    assert list(runs.windows(1)) == [Window(0, 4, ("a",)), Window(4, 4, ())]


@given(st.lists(st.tuples(st.integers(1, 13), st.integers(0, 9)), max_size=30))
def test_windows_are_exactly_the_elements_of_their_owners_and_free_ones(
    requests: list[tuple[int, int]],
) -> None:
    runs = Runs(40, alignment=ALIGNMENT)
    owner_of: dict[int, str] = {}
    for i, (size, choice) in enumerate(requests):
        windows = list(runs.windows(size))
        for window in windows:
            span = range(window.at, window.at + runs.aligned(size))
            assert span.stop <= 40
            inside = {owner_of[at] for at in span if at in owner_of}
            assert inside == set(window.owners)
        if not windows:
            continue
        at, _, owners = windows[choice % len(windows)]
        for owner in owners:
            runs.remove(owner)
            owner_of = {element: name for element, name in owner_of.items() if name != owner}
        runs.put(f"run {i}", at=at, size=size)
        owner_of |= {at + n: f"run {i}" for n in range(runs.aligned(size))}
        runs.check_integrity(set(owner_of.values()))
        assert runs.used == len(owner_of)


def test_overlap_is_found() -> None:
    runs = Runs(8, alignment=ALIGNMENT)
    runs.put("a", at=0, size=8)
    runs.put("b", at=4, size=4)
    with pytest.raises(AssertionError, match="run of b overlaps"):
        runs.check_integrity({"a", "b"})


def test_largest_gap_is_between_the_owners_that_stay() -> None:
    runs = Runs(40, alignment=ALIGNMENT)
    for owner, at in (("a", 4), ("b", 12), ("c", 32)):
        runs.put(owner, at=at, size=4)
    assert runs.largest_gap(set()) == 40
    assert runs.largest_gap({"b"}) == 24
    assert runs.largest_gap({"a", "c"}) == 24
    assert runs.largest_gap({"a", "b", "c"}) == 16


def test_windows_overlap_where_they_share_an_element() -> None:
    window = Window(8, 8, ())
    assert [at for at in range(0, 24, 4) if Window(at, 4, ()).overlaps(window)] == [8, 12]
    assert Window(4, 16, ()).overlaps(window)
