"""Adapters in and out of the arena: laws under a state machine, and the promises one by one."""

from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from weft.adapters.errors import QuotaExceeded
from weft.server.engine.places import Clear, Close, Copy, Fetch, Hurry, Open, Park, Place
from weft.server.engine.residency import TURN_S, Residency
from weft.server.engine.worth import HALF_LIFE_S

FRONT = b"front"
ELEMENT_BYTES = 32  # so that runs start at multiples of 4 elements
SIZES = {"a": 4, "b": 8, "c": 5, "d": 16, "e": 1, "f": 2, "g": 16}
EQUAL = {f"equal {i}": 4 for i in range(40)}


def arena(num_elements: int, *, host_elements: int = 0, num_slots: int = 8) -> Residency:
    return Residency(
        num_elements,
        host_elements=host_elements,
        num_slots=num_slots,
        element_bytes=ELEMENT_BYTES,
    )


def park(residency: Residency, digest: str, running: list[str], *, now: float) -> None:
    """Have every sequence that runs on the adapter wait, as the scheduler would."""
    for _ in range(running.count(digest)):
        running.remove(digest)
        residency.set_aside(digest, now=now)


def obey(residency: Residency, *, now: float = 0.0, running: Sequence[str] = ()) -> list[str]:
    """Carry all commands out at once, as everybody would; answer what was copied."""
    copied = []
    residency.place(now)
    while commands := residency.take_commands():
        for command in commands:
            match command:
                case Fetch(digest=digest):
                    residency.ready(digest, f"/cache/{digest}")
                case Open(digest=digest):
                    residency.opened(digest, (SIZES | EQUAL)[digest])
                case Copy(digest=digest):
                    residency.copied(digest)
                    copied.append(digest)
                case Park(digest=digest):
                    assert isinstance(running, list)
                    park(residency, digest, running, now=now)
        residency.place(now)
        residency.check_integrity()
    return copied


def run(residency: Residency, digest: str) -> None:
    """Load an adapter and start a sequence on it."""
    residency.want(digest, FRONT, now=0.0)
    obey(residency)
    assert residency.acquire(digest, now=0.0) is not None


class ResidencyLaws(RuleBasedStateMachine):
    """Sequences come, run and go; loads make progress, fail, or hang, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.residency = arena(24, host_elements=20, num_slots=3)
        self.waiting: list[str] = []
        self.running: list[str] = []
        self.pending: list[Fetch | Open | Copy] = []
        self.now = 0.0
        self.pinned: dict[str, str] = {}

    @rule(digest=st.sampled_from(["a", "b", "c", "d", "e"]))
    def want(self, digest: str) -> None:
        self.residency.want(digest, FRONT, now=self.now)
        self.waiting.append(digest)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def unwant(self, data: st.DataObject) -> None:
        self.residency.unwant(self.waiting.pop(data.draw(st.integers(0, len(self.waiting) - 1))))

    @rule()
    def admit(self) -> None:
        """Let every waiting sequence run that may, oldest first."""
        still_waiting = []
        for digest in self.waiting:
            if self.residency.acquire(digest, now=self.now) is None:
                still_waiting.append(digest)
            else:
                self.running.append(digest)
        self.waiting = still_waiting

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        self.residency.release(self.running.pop(data.draw(st.integers(0, len(self.running) - 1))))

    @rule(seconds=st.sampled_from([0.0, TURN_S / 2, TURN_S]))
    def place(self, seconds: float) -> None:
        self.now += seconds
        self.residency.place(self.now)
        while commands := self.residency.take_commands():
            for command in commands:
                match command:
                    case Park(digest):
                        self.waiting += [digest] * self.running.count(digest)
                        park(self.residency, digest, self.running, now=self.now)
                    case Fetch() | Open() | Copy():
                        self.pending.append(command)
            self.residency.place(self.now)

    @rule(yields=st.booleans())
    def lack_blocks(self, yields: bool) -> None:
        self.residency.yields_unused = yields

    @precondition(lambda self: self.pending)
    @rule(data=st.data(), succeeds=st.booleans())
    def answer(self, data: st.DataObject, succeeds: bool) -> None:
        command = self.pending.pop(data.draw(st.integers(0, len(self.pending) - 1)))
        digest = command.digest
        if not succeeds:
            if self.residency.place_of(digest) is not Place.RESIDENT:
                self.residency.fail(digest)
                self.pinned.pop(digest, None)
                self.pending = [c for c in self.pending if c.digest != digest]
                for _ in range(self.waiting.count(digest)):
                    self.residency.unwant(digest)
                self.waiting = [d for d in self.waiting if d != digest]
            return
        match command:
            case Fetch():
                self.residency.ready(digest, f"/cache/{digest}")
            case Open():
                self.residency.opened(digest, SIZES[digest])
            case Copy(yields=True) if data.draw(st.booleans()):
                self.residency.given_up(digest)
            case Copy():
                self.residency.copied(digest)

    @rule(seconds=st.sampled_from([0.0, 1.0]))
    def prefetch(self, seconds: float) -> None:
        self.place(seconds)
        if not any(isinstance(command, Open | Copy) for command in self.pending):
            self.residency.prefetch(self.now)
            self.pending += [c for c in self.residency.take_commands() if isinstance(c, Copy)]

    @rule(digest=st.sampled_from(["a", "b", "c", "e"]), tier=st.sampled_from(["arena", "host"]))
    def pin(self, digest: str, tier: str) -> None:
        if self.residency.is_in(tier, digest):
            with suppress(QuotaExceeded):
                self.residency.pin(digest, tier)
                self.pinned[digest] = tier

    @rule(digest=st.sampled_from(["a", "b", "c", "e"]))
    def unpin(self, digest: str) -> None:
        self.residency.unpin(digest)
        self.pinned.pop(digest, None)

    @invariant()
    def what_is_pinned_stays(self) -> None:
        assert all(self.residency.is_in(tier, digest) for digest, tier in self.pinned.items())

    @invariant()
    def nothing_is_lost_and_what_runs_is_resident(self) -> None:
        self.residency.check_integrity()
        assert set(self.running) <= set(self.residency.resident)

    def teardown(self) -> None:
        """Whatever happened, everybody who waits gets to run in the end, and nobody has to end."""
        self.residency.yields_unused = False
        for digest in self.pinned:
            self.residency.unpin(digest)
        hungry = set(self.waiting)
        for _ in range(200):
            self.place(TURN_S)
            while self.pending:
                command = self.pending.pop()
                match command:
                    case Fetch():
                        self.residency.ready(command.digest, f"/cache/{command.digest}")
                    case Open():
                        self.residency.opened(command.digest, SIZES[command.digest])
                    case Copy():
                        self.residency.copied(command.digest)
            self.admit()
            hungry -= set(self.running)
            if not hungry:
                return
        raise AssertionError(f"{hungry} still wait")


TestResidencyLaws = ResidencyLaws.TestCase
TestResidencyLaws.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


def test_first_use_goes_from_the_store_to_the_arena() -> None:
    residency = arena(16)
    assert residency.want("a", FRONT, now=0.0) == "store"
    assert residency.take_commands() == [Fetch(FRONT, "a")]
    residency.ready("a", "/cache/a")
    assert residency.take_commands() == [Open("a", "/cache/a")]
    residency.opened("a", 4)
    residency.place(0.0)
    [copy] = residency.take_commands()
    assert copy == Copy("a", slot=0, at=0)
    assert residency.acquire("a", now=0.0) is None
    residency.copied("a")
    assert residency.acquire("a", now=0.0) == 0


def test_evicted_adapter_comes_back_from_the_disk() -> None:
    residency = arena(8)
    run(residency, "b")
    residency.release("b")
    run(residency, "a")
    assert residency.place_of("b") is Place.ABSENT
    residency.release("a")
    assert residency.want("b", FRONT, now=0.0) == "disk"
    assert obey(residency) == ["b"]


def test_evicted_adapter_comes_back_from_the_host_without_being_read_again() -> None:
    residency = arena(8, host_elements=12)
    run(residency, "b")
    residency.release("b")
    run(residency, "a")
    residency.release("a")
    assert residency.want("b", FRONT, now=0.0) == "host"
    residency.place(0.0)
    assert [type(command) for command in residency.take_commands()] == [Clear, Copy]
    residency.copied("b")
    assert residency.acquire("b", now=0.0) is not None
    residency.check_integrity()


def test_host_keeps_what_fits_and_tells_the_loader_what_does_not() -> None:
    residency = arena(24, host_elements=12)
    for digest in ("a", "b", "c"):
        run(residency, digest)
        residency.release(digest)
    assert residency.take_commands() == []
    assert residency.host.num_evictions == 1
    residency.forget("c")
    assert residency.take_commands() == [Clear(2), Close("c")]
    assert residency.host.used_elements == SIZES["a"]
    assert residency.want("c", FRONT, now=0.0) == "store"


def test_pins_leave_half_of_the_arena_in_one_piece() -> None:
    residency = arena(16, host_elements=100)
    for digest in ("a", "e", "f"):
        run(residency, digest)
        residency.release(digest)
    residency.pin("a", "arena")
    with pytest.raises(QuotaExceeded) as caught:
        residency.pin("f", "arena")
    assert str(caught.value) == (
        "pinning 64 bytes would leave 128 of the arena's 512 bytes to others; 256 are kept free"
    )
    assert caught.value.metadata == {"figure": "128", "limit": "256"}


def test_pins_leave_room_for_the_largest_image_that_is_known() -> None:
    residency = arena(16)
    run(residency, "d")
    residency.release("d")
    run(residency, "e")
    with pytest.raises(QuotaExceeded, match="512 are kept free"):
        residency.pin("e", "arena")
    assert residency.largest_place == 16


def test_pins_leave_half_of_the_host_tier() -> None:
    residency = arena(64, host_elements=16)
    for digest in ("a", "b"):
        run(residency, digest)
        residency.release(digest)
    residency.pin("b", "host")
    residency.pin("b", "host")
    with pytest.raises(QuotaExceeded, match="pinning 128 bytes would leave 128 of the host's 512"):
        residency.pin("a", "host")
    for digest in ("c", "e", "f", "d"):
        run(residency, digest)
    assert residency.is_in("host", "b")


def test_pinned_adapter_keeps_its_place_though_others_wait() -> None:
    residency = arena(8, host_elements=8)
    run(residency, "a")
    residency.pin("a", "arena")
    residency.release("a")
    residency.want("c", FRONT, now=1.0)
    assert obey(residency, now=10.0) == []
    residency.unpin("a")
    assert obey(residency, now=10.0) == ["c"]


def test_each_front_is_asked_once() -> None:
    residency = arena(8)
    for peer in (b"one", b"one", b"two"):
        residency.want("a", peer, now=0.0)
    assert residency.take_commands() == [Fetch(b"one", "a"), Fetch(b"two", "a")]


def test_pinned_slot_is_never_evicted() -> None:
    residency = arena(16)
    run(residency, "d")
    residency.want("a", FRONT, now=0.0)
    residency.ready("a", "/cache/a")
    residency.opened("a", SIZES["a"])
    for _ in range(2):
        residency.take_commands()
        residency.place(10 * TURN_S)
        assert residency.take_commands() == [Park("d")]
    residency.release("d")
    assert obey(residency, now=10 * TURN_S) == ["a"]


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
    residency.yields_unused = True
    assert obey(residency) == ["e"]
    assert not residency.yields_unused


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


def test_first_to_wait_is_first_to_be_placed() -> None:
    residency = arena(4)
    run(residency, "a")
    residency.want("e", FRONT, now=2.0)
    residency.want("f", FRONT, now=1.0)
    assert obey(residency, now=TURN_S, running=["a"])[0] == "f"


def test_window_whose_turn_is_awaited_is_kept_from_the_young() -> None:
    residency = arena(16)
    run(residency, "b")
    run(residency, "a")
    residency.want("d", FRONT, now=1.0)
    residency.want("e", FRONT, now=2.0)
    running = ["a", "b"]
    assert obey(residency, now=TURN_S / 2, running=running) == []
    assert obey(residency, now=TURN_S, running=running)[0] == "d"


def test_room_that_the_first_cannot_use_is_the_next_ones() -> None:
    residency = arena(24)
    run(residency, "d")
    residency.want("g", FRONT, now=1.0)
    residency.want("e", FRONT, now=2.0)
    assert obey(residency, now=TURN_S / 2, running=["d"]) == ["e"]


def test_hot_adapter_comes_back_ahead_of_requests() -> None:
    residency = arena(8, host_elements=16)
    for digest in ("b", "b", "b", "a"):
        run(residency, digest)
        residency.release(digest)
    residency.take_commands()
    assert residency.resident == ["a"]
    residency.prefetch(1.0)
    assert residency.take_commands() == [Clear(0), Copy("b", 0, 0, yields=True)]
    residency.check_integrity()
    residency.copied("b")
    assert residency.want("b", FRONT, now=1.0) == "arena"
    assert residency.num_prefetches == 1


def test_nothing_is_prefetched_that_is_worth_less_or_in_the_way() -> None:
    residency = arena(8, host_elements=16)
    for digest in ("b", "b", "a", "a", "a", "a", "a", "a", "a"):
        run(residency, digest)
        residency.release(digest)
    residency.prefetch(1.0)
    assert residency.resident == ["a"]
    residency.prefetch(1.0 + 10 * HALF_LIFE_S)
    assert residency.num_prefetches == 0


def test_nothing_is_prefetched_while_somebody_waits_for_room() -> None:
    residency = arena(8, host_elements=64)
    for digest in ("b", "b", "b", "e", "f"):
        run(residency, digest)
        residency.release(digest)
    residency.want("d", FRONT, now=1.0)
    assert obey(residency, now=1.0) == []
    residency.prefetch(1.0)
    assert residency.num_prefetches == 0


def test_prefetch_makes_way_for_whoever_waits_for_its_place() -> None:
    residency = arena(8, host_elements=64)
    for digest in ("b", "b", "b", "a"):
        run(residency, digest)
        residency.release(digest)
    residency.prefetch(1.0)
    residency.take_commands()
    residency.want("a", FRONT, now=1.0)
    residency.place(1.0)
    assert residency.take_commands() == [Hurry()]
    residency.given_up("b")
    residency.check_integrity()
    assert obey(residency, now=1.0) == ["a"]


def test_prefetch_that_is_given_up_goes_on_for_one_who_asked_meanwhile() -> None:
    residency = arena(8, host_elements=64)
    for digest in ("b", "b", "b", "a"):
        run(residency, digest)
        residency.release(digest)
    residency.prefetch(1.0)
    assert residency.want("b", FRONT, now=1.0) == "host"
    residency.take_commands()
    residency.given_up("b")
    assert obey(residency, now=1.0) == ["b"]


def test_only_as_much_room_is_taken_as_copies_are_under_way() -> None:
    residency = arena(16)
    for digest in ("a", "c", "e"):
        residency.ready(digest, f"/cache/{digest}")
        residency.want(digest, FRONT, now=0.0)
        residency.opened(digest, SIZES[digest])
    residency.place(0.0)
    assert [c.digest for c in residency.take_commands() if isinstance(c, Copy)] == ["a", "c"]
    residency.copied("a")
    residency.place(0.0)
    assert [c.digest for c in residency.take_commands() if isinstance(c, Copy)] == ["e"]


def test_slots_run_out_before_elements() -> None:
    residency = arena(64, num_slots=1)
    run(residency, "a")
    residency.release("a")
    residency.want("e", FRONT, now=0.0)
    obey(residency)
    assert residency.resident == ["e"]


def test_failed_adapter_starts_from_the_store_again() -> None:
    residency = arena(8)
    residency.want("a", FRONT, now=0.0)
    residency.ready("a", "/cache/a")
    residency.opened("a", 4)
    residency.place(0.0)
    residency.fail("a")
    residency.unwant("a")
    assert Clear(0) in residency.take_commands()
    assert residency.used_elements == 0
    assert residency.want("a", FRONT, now=0.0) == "store"
    assert residency.take_commands() == [Fetch(FRONT, "a")]


def test_forgotten_adapter_leaves_nothing_behind() -> None:
    residency = arena(8)
    run(residency, "a")
    residency.release("a")
    residency.forget("a")
    assert residency.resident == []
    assert residency.want("a", FRONT, now=0.0) == "store"
