"""Which sequences run in the next step, and how many tokens of each: plain data, one plan a step.

The token budget goes to rows that decode, then to prefills under way and admissions in the order
of `order.py`. A sequence whose adapter has no slot yet is passed over; one that lacks blocks is
not, so nobody behind it takes them. Blocks for running sequences are taken from the last in order,
which computes its tokens again later. A parked sequence, whose adapter's turn is over, keeps its
blocks, unless one that goes before it lacks them. A sequence with beams has as many rows as it may
have beams from its admission on; all of them are in a step, or none.
"""

from bisect import insort
from collections.abc import Iterator
from collections.abc import Sequence as Many

from weft.server.channel import Hypothesis, Submit

from .beam_group import BeamGroup
from .beams import Candidate, check_beams
from .deadlines import Deadlines
from .intake import Intake
from .kv_cache import BlockAllocator, root_key
from .limits import Limits, Queued
from .order import Order
from .pace import Pace
from .plan import Chunk, Draft, Ended, Plan
from .residency import Residency
from .sequence import Sequence, State
from .tables import BlockTables
from .waiting import Candidates, Waiting
from .window import Window

WATERMARK = 0.01  # share of the blocks that admissions leave to running sequences


class Scheduler:
    """Owns the queues. Every sequence waits or is in `running`, which is by arrival."""

    def __init__(
        self,
        limits: Limits,
        blocks: BlockAllocator,
        residency: Residency,
        *,
        order: Order,
        pace: Pace,
        window: Window | None,
        block_tokens: int,
        base_digest: str,
        precision: str,
    ) -> None:
        self.running: list[Sequence] = []
        self.lacks_blocks = False
        self.opens_at: float | None = None  # when those that gather may be admitted
        self.num_parks = 0
        self._order = order
        self._ledger = order.ledger
        self._pace = pace
        self._window = window
        self._waiting = Waiting(order)
        self._parked: dict[Sequence, None] = {}
        self._num_rows = 0  # of those that run
        self._intake = Intake(limits, self._waiting, pace)
        self._limits = limits
        self._residency = residency
        self._tables = BlockTables(blocks, block_tokens=block_tokens)
        self._base_digest = base_digest
        self._precision = precision
        self._watermark = int(WATERMARK * blocks.num_blocks)
        self._deadlines = Deadlines()

    @property
    def waiting(self) -> list[Sequence]:
        """Every sequence that does not run, by arrival."""
        return self._waiting.by_arrival

    def promise(self, request: Submit) -> None:
        """Let a request pass that will be submitted later; until then it counts as waiting.

        Raises:
            RequestInvalid, PromptTooLong, QueueFull: As `submit` does.
        """
        self._intake.check_request(request, self.running)
        self._waiting.promise(request)

    def withdraw(self, request: Submit) -> None:
        """Let a promise go."""
        self._waiting.withdraw(request)

    @property
    def promised(self) -> Queued:
        """What counts as waiting and is still to be submitted."""
        return self._waiting.promised

    def submit(
        self,
        peer: bytes,
        request: Submit,
        *,
        arrival: int,
        now: float,
        is_promised: bool = False,
    ) -> Sequence:
        """Queue a sequence; one that was promised a place finds it.

        Raises:
            RequestInvalid: It has no tokens, one outside the vocabulary, or beams that never fit.
            PromptTooLong: It could never fit.
            QueueFull: Too much waits already, of its tenant or in all.
            DeadlineExceeded: Its first token is predicted to come too late.
        """
        if not is_promised:
            self._intake.check_request(request, self.running)
        root = root_key(
            self._base_digest, request.digest, precision=self._precision, salt=request.salt
        )
        sequence = Sequence(peer, request, arrival, root, now)
        if request.beams is not None:
            check_beams(
                request,
                self._limits,
                num_blocks=self._tables.num_blocks,
                block_tokens=self._tables.block_tokens,
            )
            sequence.group = BeamGroup(sequence)
        num_cached = self._tables.num_found(sequence)
        self._intake.check_deadline(sequence, self.running, num_cached=num_cached, now=now)
        if request.digest is not None:
            since = self._order.age(sequence)[0]
            sequence.tier = self._residency.want(request.digest, peer, now=now, since=since)
            if sequence.tier != "arena":
                self._ledger.order_load(sequence)
        self._deadlines.add(sequence)
        self._waiting.add(sequence)
        return sequence

    def expired(self, now: float) -> Iterator[Sequence]:
        """Yield every live sequence whose deadline has passed."""
        return self._deadlines.passed(now)

    def can_follow(self, plan: Plan) -> bool:
        """Whether the step after one can be planned while nobody has read what it draws."""
        return not any(chunk.drafts or chunk.sequence.looks_back for chunk in plan.chunks)

    def plan(self, now: float, *, after: Plan | None = None) -> Plan:
        """Choose the next step's rows and hold blocks and slots for them.

        Args:
            after: The step in flight: what it draws is not known, but when it ends a sequence for
                certain.
        """
        self.lacks_blocks = False
        self._resume(now)
        draft = Draft(self._pace.budget(self.running))
        in_flight = {} if after is None else after.drawing
        prefills = []
        for sequence in list(self.running):
            if sequence in in_flight:
                self._follow(*in_flight[sequence], draft, now)
            elif sequence.num_uncomputed > 1:
                prefills.append(sequence)
            elif draft.budget and self._tables.has_room(sequence):
                draft.add(sequence, 1)  # in a block that it holds: nearly every row, every step
            else:
                self._go_on(sequence, draft, now)
        self._fill(draft, prefills, now)
        return draft.plan()

    def _follow(self, row: int, chunk: Chunk, draft: Draft, now: float) -> None:
        """Plan the token that a chunk in flight draws, if its sequence goes on for all we know."""
        sequence = chunk.sequence
        if not chunk.is_current:
            return  # it has lost its blocks to this very plan
        if chunk.ends:
            draft.ending.add(sequence)
            return
        num = chunk.stop + 1 - sequence.num_computed
        if draft.budget and self._hold(sequence, num, draft, now):
            draft.follow(chunk, row)

    def _resume(self, now: float) -> None:
        """Let parked sequences run again whose adapter has come back: they were admitted once."""
        for sequence in sorted(self._parked, key=self._order.age):
            assert sequence.digest is not None
            if not self._has_rows(sequence):
                return
            if self._residency.is_open(sequence.digest):
                self._start(sequence, now)

    def _go_on(self, sequence: Sequence, draft: Draft, now: float) -> None:
        """Plan the next tokens of a running sequence."""
        num = sequence.chunk(draft.budget)
        if self._hold(sequence, num, draft, now) and num:
            self._add(sequence, num, draft)

    def _hold(self, sequence: Sequence, num: int, draft: Draft, now: float) -> bool:
        """Hold blocks for more tokens of a running sequence, at the cost of the last in order;
        False if that is itself."""
        while sequence.state is State.RUNNING and not self._tables.grow(sequence, num):
            self.lacks_blocks = True
            victim = max([*self.running, *self._parked], key=self._order.age)
            draft.drop(victim)
            self._preempt(victim, now)
        return sequence.state is State.RUNNING

    def _preempt(self, sequence: Sequence, now: float) -> None:
        """Take the blocks of a running or parked sequence."""
        if sequence.state is State.RUNNING:
            self._set_aside(sequence, now)
        self._tables.close(sequence)
        self._parked.pop(sequence, None)
        sequence.state = State.PREEMPTED
        sequence.num_preemptions += 1

    def park(self, digest: str, now: float) -> None:
        """Have the running sequences of an adapter wait, with their blocks."""
        for sequence in [s for s in self.running if s.digest == digest]:
            self._set_aside(sequence, now)
            sequence.state = State.PARKED
            self._parked[sequence] = None
            self.num_parks += 1

    def _set_aside(self, sequence: Sequence, now: float) -> None:
        """Move a running sequence back to those that wait."""
        self._stop(sequence)
        if sequence.digest is not None:
            self._residency.set_aside(sequence.digest, now=now)
        self._waiting.add(sequence)

    def _fill(self, draft: Draft, prefills: list[Sequence], now: float) -> None:
        """Give what is left of the budget to prefills under way and to admissions, in order."""
        candidates = Candidates(self._order, self._open_groups(draft, now), now=now)
        for prefill in sorted(prefills, key=lambda s: self._order.key(s, now)):
            self._admit(candidates, draft, now, before=prefill)
            self._go_on(prefill, draft, now)
        self._admit(candidates, draft, now)
        self._residency.turns.yields_unused = self.lacks_blocks and bool(self._parked)

    def _open_groups(self, draft: Draft, now: float) -> list[list[Sequence]]:
        """Groups to admit from; none while there is no room, or while they gather."""
        self.opens_at = None
        if not self._has_room(draft):
            return []
        groups = self._waiting.open_groups(now, self._residency.open_digests)
        if self._window is None or not groups:
            return groups
        waiting = [sequence for group in groups for sequence in group]
        ahead = sum(len(sequence.tokens) for sequence in waiting)
        wait_s = self._pace.least_wait_s(ahead=ahead, own=0, running=self.running)
        opens_at = self._window.opens_at(waiting, now=now, wait_s=wait_s)
        if opens_at <= now:
            return groups
        self.opens_at = opens_at
        return []

    def _admit(
        self, candidates: Candidates, draft: Draft, now: float, *, before: Sequence | None = None
    ) -> None:
        """Admit whoever fits, as long as they go before a prefill under way, if one is given."""
        while self._has_room(draft):
            sequence = candidates.first()
            if sequence is None or (before and self._goes_first(before, sequence, now)):
                return
            fits = self._has_rows(sequence, num_ending=len(draft.ending))
            if not fits or draft.budget < len(sequence.rows):
                return
            num = self._take_blocks(sequence, draft.budget, now)
            if not num:
                self.lacks_blocks = True
                return
            self._start(sequence, now)
            self._ledger.admit(sequence)
            self._add(sequence, num, draft)

    def _add(self, sequence: Sequence, num: int, draft: Draft) -> None:
        """Plan tokens; a prompt's are charged at once, for they count in this very plan."""
        rows = sequence.rows
        if rows[0] is sequence:
            draft.add(sequence, num)
        else:
            draft.add_beams(rows, num)
        if num > 1:
            for row in rows:
                self._ledger.serve(row, row.num_computed + num)

    def _goes_first(self, sequence: Sequence, other: Sequence, now: float) -> bool:
        return self._order.key(sequence, now) < self._order.key(other, now)

    def _has_room(self, draft: Draft) -> bool:
        num_rows = self._num_rows - len(draft.ending)
        return draft.budget > 0 and num_rows < self._limits.max_sequences

    def _has_rows(self, sequence: Sequence, *, num_ending: int = 0) -> bool:
        """Whether the rows of a sequence fit into a step beside those that go on running."""
        num_rows = self._num_rows - num_ending + sequence.num_rows
        return num_rows <= self._limits.max_sequences

    def _start(self, sequence: Sequence, now: float) -> None:
        self._num_rows += sequence.num_rows
        self._waiting.remove(sequence)
        sequence.stop_waiting(now)
        self._parked.pop(sequence, None)
        if sequence.digest is not None:
            sequence.slot = self._residency.acquire(sequence.digest, now=now)
            assert sequence.slot is not None, "its adapter was open"
            for row in sequence.rows:
                row.slot = sequence.slot
        sequence.state = State.RUNNING
        if sequence.admitted_at is None:
            sequence.admitted_at = now
        insort(self.running, sequence, key=_by_arrival)

    def _take_blocks(self, sequence: Sequence, budget: int, now: float) -> int:
        """Acquire blocks, at the cost of parked sequences that are behind in order."""
        while not (num := self._acquire_blocks(sequence, budget)):
            age = self._order.age(sequence)
            behind = [s for s in self._parked if self._order.age(s) > age]
            if not behind:
                break
            self._preempt(max(behind, key=self._order.age), now)
        return num

    def _acquire_blocks(self, sequence: Sequence, budget: int) -> int:
        """Hold what is computed and the blocks of a next chunk; answer its tokens, 0 if none."""
        if sequence.state is State.PARKED:
            num = sequence.chunk(budget)
            return num if self._tables.grow(sequence, num) else 0
        spare = self._watermark if self.running else 0
        num = self._tables.open(sequence, budget=budget, spare=spare)
        if num and sequence.admitted_at is None:
            sequence.num_cached = sequence.num_computed
            self._pace.admitted(num_tokens=len(sequence.tokens), num_cached=sequence.num_cached)
        return num

    def launched(self, plan: Plan) -> None:
        """Account for the parts of prompts in a step: any later one finds them computed."""
        for chunk in plan.chunks:
            if chunk.is_part:
                self._advance(chunk.sequence, chunk.stop)

    def advance(self, plan: Plan, drawn: Many[Many[int]], *, now: float) -> list[Ended]:
        """Account for a step that ran, and was launched before.

        `drawn` has, for every chunk that draws, in order, its right drafts and the token after.
        Beams are as long as before, until `search`.

        Sequences that were finished or preempted since the plan are passed over.
        """
        ended = []
        each = iter(drawn)
        for chunk in plan.chunks:
            sequence = chunk.sequence
            tokens = next(each) if chunk.draws else ()
            if chunk.is_part or not chunk.is_current:
                continue
            self._advance(sequence, chunk.stop)
            if sequence.leader is not None:
                sequence.leader.num_computed = chunk.stop
            elif sequence.group is not None and sequence.group.is_due:
                self._tables.fork(sequence.group)
            reason = self._append(sequence, tokens, now)
            if reason is not None:
                self.finish(sequence)
                ended.append(Ended(sequence, reason))
        return ended

    def search(
        self, sequence: Sequence, candidates: Many[Candidate], *, now: float
    ) -> list[Hypothesis]:
        """Let the beams of a sequence go on; answer the hypotheses to tell if that ends it.

        `candidates` are the best continuations of its rows, as the step found them. A sequence
        that was finished since the plan is passed over.
        """
        group = sequence.group
        assert group is not None
        if sequence.state is not State.RUNNING:
            return []
        if sequence.first_token_at is None:
            sequence.first_token_at = now
        for row in sequence.rows:
            self._ledger.serve(row, row.num_computed)
        living = group.search.advance(candidates, [row.tokens for row in sequence.rows])
        if living:
            self._tables.branch(group, living)
            return []
        self.finish(sequence)
        return group.search.best

    def _append(self, sequence: Sequence, tokens: Many[int], now: float) -> str | None:
        """Add tokens up to one that ends the sequence; all but the last have been computed."""
        for place, token in enumerate(tokens):
            if place:
                self._advance(sequence, sequence.num_computed + 1)
            reason = sequence.append(token, now)
            if reason is not None:
                return reason
        return None

    def _advance(self, sequence: Sequence, num_computed: int) -> None:
        """Publish the blocks that have become full, and charge for them."""
        if self._tables.advance(sequence, num_computed):
            self._ledger.serve(sequence, num_computed)

    def finish(self, sequence: Sequence) -> None:
        """Take a sequence out, whatever it is doing, with its blocks and its slot."""
        if sequence.state is State.RUNNING:
            self._stop(sequence)
            if sequence.digest is not None:
                self._residency.release(sequence.digest)
        else:
            self._waiting.remove(sequence)
            if sequence.digest is not None:
                self._residency.unwant(sequence.digest)
            self._parked.pop(sequence, None)
            self._ledger.cancel_load(sequence)
        self._tables.close(sequence)
        sequence.state = State.FINISHED
        self._deadlines.forget(num_live=len(self.waiting) + len(self.running))

    def _stop(self, sequence: Sequence) -> None:
        """Take a sequence out of the running ones; its blocks stay."""
        for row in sequence.rows:
            self._ledger.serve(row, row.num_computed)
            row.slot = None
        self.running.remove(sequence)
        self._num_rows -= sequence.num_rows
        sequence.slot = None

    def waiting_for(self, digest: str) -> list[Sequence]:
        return [sequence for sequence in self.waiting if sequence.digest == digest]

    def check_integrity(self) -> None:
        """Assert that queues, blocks and adapters agree."""
        self._waiting.check_integrity()
        assert self.running == sorted(self.running, key=_by_arrival)
        assert all(s.state is State.RUNNING for s in self.running)
        assert not any(s.state in (State.RUNNING, State.FINISHED) for s in self.waiting)
        assert not any(s.slot is not None for s in self.waiting)
        for s in self.waiting:
            assert all(bool(row.blocks) == (s.state is State.PARKED) for row in s.rows)
        assert self._num_rows == sum(s.num_rows for s in self.running)
        assert set(self._parked) == {s for s in self.waiting if s.state is State.PARKED}
        holders = [*self.running, *self._parked]
        self._tables.check_integrity(holders)
        for group in [s.group for s in [*holders, *self.waiting] if s.group is not None]:
            group.check_integrity()
        self._residency.check_integrity()


def _by_arrival(sequence: Sequence) -> int:
    return sequence.arrival
