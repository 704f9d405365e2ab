"""Scheduler, residency and KV cache under random events: their books, and what they promise."""

from collections import deque
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from weft.server.channel import Beams, EarlyStopping, Priority
from weft.server.config import POLICIES, SchedulingConfig
from weft.server.engine.places import Clear, Close, Command, Copy, Fetch, Open, Park, Place
from weft.server.engine.plan import Chunk, Plan
from weft.server.engine.sequence import Sequence, State
from weft.server.errors import DeadlineExceeded, QueueFull, RequestInvalid

from .plans import (
    BLOCK_TOKENS,
    IMAGE_SIZE,
    LIMITS,
    VOCABULARY,
    Bench,
    next_token,
    search_alone,
)

ENDS = (frozenset(range(0, VOCABULARY, 7)), frozenset(range(3)))  # without and with beams
Content = tuple[str, str | None, tuple[int, ...]]  # tenant, digest, tokens up to this one


class Memory:
    """What the blocks hold: every token's keys and values depend on all before it."""

    def __init__(self) -> None:
        self._at: dict[tuple[int, int], Content] = {}

    def copy(self, chunk: Chunk) -> None:
        """Copy the block that the chunk's first one has to be a copy of, if there is one."""
        if chunk.source is None:
            return
        target = chunk.sequence.blocks[chunk.start // BLOCK_TOKENS]
        for offset in range(chunk.start % BLOCK_TOKENS):
            self._at[target, offset] = self._at[chunk.source, offset]

    def run(self, chunk: Chunk) -> None:
        """Write what the chunk computes, and check all that it reads."""
        sequence = chunk.sequence
        for position in range(chunk.start, chunk.stop):
            self._at[self._place(sequence, position)] = self._content(sequence, position)
        for position in range(chunk.stop):
            found = self._at[self._place(sequence, position)]
            assert found == self._content(sequence, position)

    def _place(self, sequence: Sequence, position: int) -> tuple[int, int]:
        return sequence.blocks[position // BLOCK_TOKENS], position % BLOCK_TOKENS

    def _content(self, sequence: Sequence, position: int) -> Content:
        tokens = sequence.tokens[: position + 1]
        if position == len(sequence.tokens):  # it is drawn by the step in flight
            tokens.append(next_token(tokens))
        return sequence.tenant, sequence.digest, tuple(tokens)


class Events(RuleBasedStateMachine):
    """Requests, aborts, loads that end in any order or fail, steps, and time that passes."""

    policy: str

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()
        self.memory = Memory()
        self.fetches: list[Fetch] = []
        self.loads: deque[Open | Copy] = deque()
        self.open: set[int] = set()
        self.slots: dict[int, str] = {}
        self.flight: Plan | None = None

    @initialize(
        num_blocks=st.sampled_from([16, 20]),
        arena_images=st.integers(1, 3),
        budget=st.sampled_from([4, 16]),
    )
    def start(self, num_blocks: int, arena_images: int, budget: int) -> None:
        self.bench = Bench(
            replace(LIMITS, max_batch_tokens=budget),
            num_blocks=num_blocks,
            arena_images=arena_images,
            scheduling=SchedulingConfig(policy=self.policy, ageing_s=5.0),
        )
        self.max_batch_tokens = budget

    # Events

    @rule(
        tenant=st.sampled_from("xy"),
        digest=st.sampled_from([None, "a", "b", "c", "d"]),
        priority=st.sampled_from(Priority),
        length=st.integers(1, 30),
        start=st.integers(0, 1),
        max_tokens=st.integers(1, 20),
        left_s=st.sampled_from([None, None, 3.0, 30.0]),
        stops=st.booleans(),
        num_beams=st.sampled_from([1, 1, 2, 3]),
        early=st.sampled_from(EarlyStopping),
    )
    def submit(
        self,
        tenant: str,
        digest: str | None,
        priority: Priority,
        length: int,
        start: int,
        max_tokens: int,
        left_s: float | None,
        stops: bool,
        num_beams: int,
        early: EarlyStopping,
    ) -> None:
        has_beams = num_beams > 1
        try:
            stream = self.bench.submit(
                list(range(start, start + length)),
                digest=digest,
                max_tokens=max_tokens,
                salt=tenant,
                priority=priority,
                deadline=None if left_s is None else self.bench.now + left_s,
                stop_tokens=ENDS[has_beams] if stops else frozenset(),
                beams=Beams(num_beams, num_beams, 0.5, early) if has_beams else None,
            )
        except (QueueFull, DeadlineExceeded):
            return
        except RequestInvalid:
            assert has_beams
            return
        self.open.add(stream)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        self.end(data.draw(st.sampled_from(self.live)))

    @precondition(lambda self: self.fetches)
    @rule(data=st.data(), succeeds=st.sampled_from([True, True, False]))
    def end_fetch(self, data: st.DataObject, succeeds: bool) -> None:
        at = data.draw(st.integers(0, len(self.fetches) - 1))
        digest = self.fetches.pop(at).digest
        if succeeds:
            self.bench.residency.ready(digest, f"/cache/{digest}")
        else:
            self.fail(digest)

    @precondition(lambda self: self.loads)
    @rule(succeeds=st.sampled_from([True, True, True, False]))
    def end_load(self, succeeds: bool) -> None:
        residency = self.bench.residency
        match self.loads.popleft():
            case Open(digest=digest) | Copy(digest=digest) if not succeeds:
                self.fail(digest)
            case Open(digest=digest):
                residency.opened(digest, IMAGE_SIZE)
            case Copy(digest=digest):
                residency.copied(digest)

    @rule(seconds=st.sampled_from([0.01, 0.3, 6.0]))
    def wait(self, seconds: float) -> None:
        self.bench.now += seconds

    @rule(ahead=st.sampled_from([True, True, False]))
    def step(self, ahead: bool) -> None:
        """Launch a step, behind the one in flight if it can follow, and land that one."""
        bench = self.bench
        for sequence in list(bench.scheduler.expired(bench.now)):
            self.end(sequence)
        self.order_loads()
        if self.flight is not None and not bench.scheduler.can_follow(self.flight):
            self.land()
        plan = bench.plan(after=self.flight)
        self.check_plan(plan)
        for chunk in plan.chunks:
            self.memory.copy(chunk)
        for chunk in plan.chunks:
            self.memory.run(chunk)
        bench.scheduler.launched(plan)
        self.land()
        self.flight = plan
        if not ahead:
            self.land()

    def land(self) -> None:
        flight, self.flight = self.flight, None
        if flight is not None:
            for ended in self.bench.land(flight):
                self.check_answer(ended.sequence)
                self.open.remove(ended.sequence.request.stream)

    # What the engine does on its own

    @property
    def live(self) -> list[Sequence]:
        return [*self.bench.scheduler.waiting, *self.bench.scheduler.running]

    def end(self, sequence: Sequence) -> None:
        self.bench.scheduler.finish(sequence)
        self.open.remove(sequence.request.stream)

    def fail(self, digest: str) -> None:
        if self.bench.residency.place_of(digest) is not Place.ABSENT:
            self.bench.residency.fail(digest)
        for sequence in self.bench.scheduler.waiting_for(digest):
            self.end(sequence)

    def order_loads(self) -> None:
        residency = self.bench.residency
        residency.place(self.bench.now)
        while commands := residency.take_commands():
            for command in commands:
                if isinstance(command, Park | Clear | Copy):
                    self.land()
                self.carry_out(command)
            residency.place(self.bench.now)

    def carry_out(self, command: Command) -> None:
        match command:
            case Fetch():
                self.fetches.append(command)
            case Open():
                self.loads.append(command)
            case Copy():
                assert command.slot not in self.slots
                self.slots[command.slot] = command.digest
                self.loads.append(command)
            case Clear(slot=slot):
                assert all(s.slot != slot for s in self.bench.scheduler.running)
                del self.slots[slot]
            case Park(digest=digest):
                self.bench.scheduler.park(digest, self.bench.now)
            case Close():
                pass

    # Promises

    def check_plan(self, plan: Plan) -> None:
        assert plan.num_tokens <= self.max_batch_tokens
        assert len(plan.chunks) <= LIMITS.max_sequences
        in_flight = {}  # tokens that the step in flight has computed when this one runs
        if self.flight is not None:
            drawing = self.flight.drawing.items()
            in_flight = {sequence: chunk.stop for sequence, (_, chunk) in drawing}
        planned = [chunk.sequence for chunk in plan.chunks]
        written = []
        for chunk in plan.chunks:
            sequence, start, stop = chunk[:3]
            leader = sequence.leader or sequence
            assert leader.state is State.RUNNING
            assert set(leader.rows) <= set(planned), "only some beams are planned"
            assert start == in_flight.get(sequence, sequence.num_computed)
            assert start < stop <= len(sequence.tokens) + (sequence in in_flight)
            assert (sequence.slot is None) == (sequence.digest is None)
            if sequence.slot is not None:
                assert self.slots[sequence.slot] == sequence.digest
                assert self.bench.residency.place_of(self.slots[sequence.slot]) is Place.RESIDENT
            written += sequence.blocks[start // BLOCK_TOKENS : -(-stop // BLOCK_TOKENS)]
        assert len(set(written)) == len(written), "two sequences write one block"

    def check_answer(self, sequence: Sequence) -> None:
        if sequence.request.beams is not None:
            found = self.bench.hypotheses[sequence.request.stream]
            assert found == search_alone(sequence.request)
            return
        tokens = list(sequence.request.tokens)
        while len(tokens) < len(sequence.tokens):
            tokens.append(next_token(tokens))
        assert sequence.tokens == tokens

    @invariant()
    def books_agree(self) -> None:
        self.bench.scheduler.check_integrity()
        assert {sequence.request.stream for sequence in self.live} == self.open
        adapted = [sequence for sequence in self.live if sequence.digest is not None]
        num_pins = sum(sequence.state is State.RUNNING for sequence in adapted)
        assert self.bench.residency.num_pins == num_pins
        assert self.bench.residency.num_waiting == len(adapted) - num_pins

    def teardown(self) -> None:
        """Everybody ends once loads succeed and time passes."""
        for _ in range(3000):
            if not self.open:
                break
            while self.fetches:
                digest = self.fetches.pop().digest
                self.bench.residency.ready(digest, f"/cache/{digest}")
            while self.loads:
                self.end_load(True)
            self.step(True)
            self.books_agree()
        self.land()
        assert not self.open, "somebody waits for ever"
        assert self.bench.blocks.num_available == self.bench.blocks.num_blocks


@pytest.mark.parametrize("policy", POLICIES)
def test_random_events_leave_the_books_right_and_nobody_behind(policy: str) -> None:
    machine = type("PolicyEvents", (Events,), {"policy": policy})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=80,
            stateful_step_count=40,
            deadline=None,
            phases=(Phase.reuse, Phase.generate),  # shrinking takes minutes
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
