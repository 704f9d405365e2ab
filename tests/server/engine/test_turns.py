"""Who has to leave the arena, and when, seen through residency."""

import pytest

from weft.server.engine.residency import TURN_S

from .arenas import EQUAL, FRONT, arena, obey, run


def test_pinned_adapter_keeps_its_place_though_others_wait() -> None:
    residency = arena(8, host_elements=8)
    run(residency, "a")
    residency.pin("a", "arena")
    residency.release("a")
    residency.want("c", FRONT, now=1.0)
    assert obey(residency, now=10.0) == []
    residency.unpin("a")
    assert obey(residency, now=10.0) == ["c"]


def test_least_recently_used_adapter_makes_room() -> None:
    residency = arena(12)
    for digest in ("a", "c", "a"):
        run(residency, digest)
        residency.release(digest)
    run(residency, "b")
    assert sorted(residency.resident) == ["a", "b"]


def test_adapter_keeps_its_place_for_a_turn_from_its_first_pin() -> None:
    residency = arena(4)
    residency.want("a", FRONT, now=0.0)
    obey(residency)
    residency.want("e", FRONT, now=0.0)
    assert obey(residency, now=10 * TURN_S) == []
    assert residency.acquire("a", now=10 * TURN_S) is not None
    running = ["a"]
    assert obey(residency, now=10.9 * TURN_S, running=running) == []
    assert running == ["a"]
    assert obey(residency, now=11.1 * TURN_S, running=running)[0] == "e"
    assert running == []


def test_turn_that_cannot_begin_for_lack_of_blocks_is_over() -> None:
    residency = arena(4)
    residency.want("a", FRONT, now=0.0)
    obey(residency)
    residency.want("e", FRONT, now=0.0)
    residency.turns.yields_unused = True
    assert obey(residency) == ["e"]
    assert not residency.turns.yields_unused


def test_adapter_that_was_idle_gets_a_whole_turn() -> None:
    residency = arena(4)
    run(residency, "a")
    residency.release("a")
    residency.want("a", FRONT, now=9.0)
    assert residency.acquire("a", now=9.0) is not None
    residency.want("e", FRONT, now=9.0)
    running = ["a"]
    assert obey(residency, now=9.0 + TURN_S / 2, running=running) == []
    assert obey(residency, now=9.01 + TURN_S, running=running)[0] == "e"


@pytest.mark.parametrize(
    ("num_adapters", "num_places"), [(2, 1), (7, 1), (6, 3), (16, 8), (17, 8), (40, 16)]
)
def test_all_run_within_as_many_turns_as_their_bytes_fill_arenas(
    num_adapters: int, num_places: int
) -> None:
    residency = arena(4 * num_places, num_slots=64)
    names = list(EQUAL)[:num_adapters]
    for name in names:
        residency.want(name, FRONT, now=0.0)
    num_turns = -(-num_adapters // num_places)
    running: list[str] = []
    for cycle in range(3):
        ran: set[str] = set()
        for turn in range(cycle * num_turns, (cycle + 1) * num_turns):
            now = turn * 1.01 * TURN_S
            obey(residency, now=now, running=running)
            waiting = [name for name in names if name not in running]
            running += [n for n in waiting if residency.acquire(n, now=now) is not None]
            ran |= set(running)
        assert ran == set(names)


def test_window_whose_turn_is_awaited_is_kept_from_the_young() -> None:
    residency = arena(16)
    run(residency, "b")
    run(residency, "a")
    residency.want("d", FRONT, now=1.0)
    residency.want("e", FRONT, now=2.0)
    running = ["a", "b"]
    assert obey(residency, now=TURN_S / 2, running=running) == []
    assert obey(residency, now=TURN_S, running=running)[0] == "d"
