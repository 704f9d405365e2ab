"""Adapters in and out of the arena: laws under a state machine, and the promises one by one."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from weft.server.engine.places import Clear, Close, Copy, Fetch, Open, Place
from weft.server.engine.residency import Residency

FRONT = b"front"
ELEMENT_BYTES = 32  # so that runs start at multiples of 4 elements
SIZES = {"a": 4, "b": 8, "c": 5, "d": 16, "e": 1}


def arena(num_elements: int, *, num_slots: int = 8) -> Residency:
    return Residency(num_elements, num_slots=num_slots, element_bytes=ELEMENT_BYTES)


def obey(residency: Residency) -> list[str]:
    """Carry all commands out at once, as a front and a loader would; answer what was copied."""
    copied = []
    while commands := residency.take_commands():
        for command in commands:
            match command:
                case Fetch(digest=digest):
                    residency.ready(digest, f"/cache/{digest}")
                case Open(digest=digest):
                    residency.opened(digest, SIZES[digest])
                case Copy(digest=digest):
                    residency.copied(digest)
                    copied.append(digest)
        residency.place()
    return copied


def run(residency: Residency, digest: str) -> None:
    """Load an adapter and start a sequence on it."""
    residency.want(digest, FRONT)
    obey(residency)
    assert residency.acquire(digest) is not None


class ResidencyLaws(RuleBasedStateMachine):
    """Sequences come, run and go; loads make progress, fail, or hang, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.residency = arena(24, num_slots=3)
        self.waiting: list[str] = []
        self.running: list[str] = []
        self.pending: list[Fetch | Open | Copy] = []

    @rule(digest=st.sampled_from(sorted(SIZES)))
    def want(self, digest: str) -> None:
        self.residency.want(digest, FRONT)
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
            if self.residency.acquire(digest) is None:
                still_waiting.append(digest)
            else:
                self.running.append(digest)
        self.waiting = still_waiting

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        self.residency.release(self.running.pop(data.draw(st.integers(0, len(self.running) - 1))))

    @rule()
    def place(self) -> None:
        readable = (d for d in self.waiting if self.residency.place_of(d) is Place.READABLE)
        self.residency.favour(next(readable, None))
        self.residency.place()
        for command in self.residency.take_commands():
            if isinstance(command, Fetch | Open | Copy):
                self.pending.append(command)

    @precondition(lambda self: self.pending)
    @rule(data=st.data(), succeeds=st.booleans())
    def answer(self, data: st.DataObject, succeeds: bool) -> None:
        command = self.pending.pop(data.draw(st.integers(0, len(self.pending) - 1)))
        digest = command.digest
        if not succeeds:
            if self.residency.place_of(digest) is not Place.RESIDENT:
                self.residency.fail(digest)
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
            case Copy():
                self.residency.copied(digest)

    @invariant()
    def nothing_is_lost_and_what_runs_is_resident(self) -> None:
        self.residency.check_integrity()
        assert set(self.running) <= set(self.residency.resident)

    def teardown(self) -> None:
        """Whatever happened, everybody who waits gets to run in the end."""
        for _ in range(200):
            self.place()
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
            if self.running:
                self.residency.release(self.running.pop(0))
            if not self.waiting:
                return
        raise AssertionError(f"{self.waiting} still wait")


TestResidencyLaws = ResidencyLaws.TestCase
TestResidencyLaws.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


def test_first_use_goes_from_the_store_to_the_arena() -> None:
    residency = arena(16)
    assert residency.want("a", FRONT) == "store"
    assert residency.take_commands() == [Fetch(FRONT, "a")]
    residency.ready("a", "/cache/a")
    assert residency.take_commands() == [Open("a", "/cache/a")]
    residency.opened("a", 4)
    residency.place()
    [copy] = residency.take_commands()
    assert copy == Copy("a", slot=0, at=0)
    assert residency.acquire("a") is None
    residency.copied("a")
    assert residency.acquire("a") == 0


def test_evicted_adapter_comes_back_from_the_disk() -> None:
    residency = arena(8)
    run(residency, "b")
    residency.release("b")
    run(residency, "a")
    assert residency.place_of("b") is Place.ABSENT
    residency.release("a")
    assert residency.want("b", FRONT) == "disk"
    assert obey(residency) == ["b"]


def test_each_front_is_asked_once() -> None:
    residency = arena(8)
    for peer in (b"one", b"one", b"two"):
        residency.want("a", peer)
    assert residency.take_commands() == [Fetch(b"one", "a"), Fetch(b"two", "a")]


def test_pinned_slot_is_never_evicted() -> None:
    residency = arena(16)
    run(residency, "d")
    residency.want("a", FRONT)
    residency.favour("a")
    assert obey(residency) == []
    assert residency.resident == ["d"]
    residency.release("d")
    residency.place()
    assert obey(residency) == ["a"]


def test_least_recently_used_adapter_makes_room() -> None:
    residency = arena(12)
    for digest in ("a", "c", "a"):
        run(residency, digest)
        residency.release(digest)
    run(residency, "b")
    assert sorted(residency.resident) == ["a", "b"]


def test_adapter_that_somebody_waits_for_is_kept_from_the_young() -> None:
    residency = arena(4)
    run(residency, "a")
    residency.want("a", FRONT)
    residency.release("a")
    residency.want("e", FRONT)
    residency.favour("a")
    assert obey(residency) == []
    assert residency.resident == ["a"]


def test_oldest_waiting_sequence_closes_a_window_and_gets_it() -> None:
    residency = arena(16)
    run(residency, "a")
    run(residency, "b")
    residency.want("d", FRONT)
    residency.favour("d")
    obey(residency)
    residency.want("a", FRONT)
    assert residency.acquire("a") is None
    residency.release("a")
    residency.release("b")
    residency.place()
    assert obey(residency)[0] == "d"
    assert residency.acquire("d") is not None


def test_only_one_window_is_closed() -> None:
    residency = arena(12)
    run(residency, "b")
    run(residency, "a")
    residency.want("e", FRONT)
    residency.favour("e")
    obey(residency)
    for digest in ("a", "b"):
        residency.want(digest, FRONT)
    assert [residency.acquire(digest) is None for digest in ("a", "b")].count(True) == 1


def test_closed_window_opens_when_its_claimant_leaves() -> None:
    residency = arena(4)
    run(residency, "a")
    residency.want("e", FRONT)
    residency.favour("e")
    obey(residency)
    residency.want("a", FRONT)
    assert residency.acquire("a") is None
    residency.unwant("e")
    assert residency.acquire("a") is not None
    assert residency.take_commands() == [Close("e")]


def test_slots_run_out_before_elements() -> None:
    residency = arena(64, num_slots=1)
    run(residency, "a")
    residency.release("a")
    residency.want("e", FRONT)
    obey(residency)
    assert residency.resident == ["e"]


def test_failed_adapter_starts_from_the_store_again() -> None:
    residency = arena(8)
    residency.want("a", FRONT)
    residency.ready("a", "/cache/a")
    residency.opened("a", 4)
    residency.place()
    residency.fail("a")
    residency.unwant("a")
    assert Clear(0) in residency.take_commands()
    assert residency.used_elements == 0
    assert residency.want("a", FRONT) == "store"
    assert residency.take_commands() == [Fetch(FRONT, "a")]


def test_forgotten_adapter_leaves_nothing_behind() -> None:
    residency = arena(8)
    run(residency, "a")
    residency.release("a")
    residency.forget("a")
    assert residency.resident == []
    assert residency.want("a", FRONT) == "store"
