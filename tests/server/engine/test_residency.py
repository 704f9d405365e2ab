"""Adapters in and out of the arena: laws under a state machine, and the promises one by one."""

from contextlib import suppress

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from weft.adapters.errors import QuotaExceeded
from weft.server.engine.places import Clear, Close, Copy, Fetch, Hurry, Open, Park, Place
from weft.server.engine.residency import TURN_S
from weft.server.engine.worth import HALF_LIFE_S

from .arenas import FRONT, SIZES, arena, obey, park, run


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
        self.residency.turns.yields_unused = yields

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
        self.residency.turns.yields_unused = False
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


def test_first_to_wait_is_first_to_be_placed() -> None:
    residency = arena(4)
    run(residency, "a")
    residency.want("e", FRONT, now=2.0)
    residency.want("f", FRONT, now=1.0)
    assert obey(residency, now=TURN_S, running=["a"])[0] == "f"


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
