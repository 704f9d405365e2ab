"""Sequences and schedulers for tests of the parts that plan, without a model."""

from collections.abc import Iterable
from collections.abc import Sequence as Many

from weft.server.channel import Beams, Hypothesis, Priority, Sampling, Submit
from weft.server.config import SchedulingConfig
from weft.server.engine.beams import BeamSearch, Candidate
from weft.server.engine.kv_cache import BlockAllocator
from weft.server.engine.ledger import Ledger
from weft.server.engine.limits import Limits
from weft.server.engine.order import Order, make_order
from weft.server.engine.pace import Pace
from weft.server.engine.places import Copy, Fetch, Open, Park
from weft.server.engine.plan import Ended, Plan
from weft.server.engine.prices import Prices
from weft.server.engine.residency import Residency
from weft.server.engine.scheduler import Scheduler
from weft.server.engine.sequence import Sequence
from weft.server.engine.step_time import StepTime
from weft.server.engine.window import make_window

FRONT = b"front"
BLOCK_TOKENS = 4
VOCABULARY = 1000
PRICES = Prices(
    prefill_us=1.0, decode_us=2.0, cached_us=0.125, kv_us=0.5, element_us=0.25, load_us=8.0
)
FCFS = SchedulingConfig(policy="fcfs")
IMAGE_SIZE = 4
LIMITS = Limits(
    max_sequences=8, max_batch_tokens=16, max_context=64, vocab_size=VOCABULARY, max_waiting=64
)


def sequence(
    arrival: int,
    priority: Priority = Priority.NORMAL,
    *,
    submitted_at: float = 0.0,
    tenant: str = "",
    digest: str | None = None,
    tokens: Iterable[int] = (1, 2, 3),
    deadline: float | None = None,
) -> Sequence:
    """Make a sequence that no scheduler knows."""
    request = Submit(
        stream=arrival,
        digest=digest,
        tokens=list(tokens),
        sampling=Sampling(),
        max_tokens=4,
        stop_tokens=frozenset(),
        salt=tenant,
        deadline=deadline,
        priority=priority,
    )
    return Sequence(FRONT, request, arrival, root=b"", submitted_at=submitted_at)


def order_of(policy: str = "fcfs", *, ageing_s: float = 10.0) -> Order:
    """The order of a policy, with a ledger that knows no adapter."""
    config = SchedulingConfig(policy=policy, ageing_s=ageing_s)
    return make_order(
        config, Ledger(PRICES, Residency(1, host_elements=0, num_slots=1, element_bytes=32))
    )


def next_token(tokens: list[int]) -> int:
    """What a bench draws after these."""
    return (7 * sum(tokens) + len(tokens)) % VOCABULARY


def continuations(search: BeamSearch, tokens: Many[list[int]]) -> list[Candidate]:
    """The best continuations of beams, as scored by nothing but their tokens."""
    found = [
        Candidate(beam, token, search.scores[beam] - hash((*tokens[beam], token)) % 9973 / 1000)
        for beam in range(len(tokens))
        for token in range(50)
    ]
    return sorted(found, key=lambda c: c.score, reverse=True)[: search.num_candidates]


def search_alone(request: Submit) -> list[Hypothesis]:
    """What a beam search over `continuations` finds."""
    search, tokens = BeamSearch(request), [request.tokens]
    while living := search.advance(continuations(search, tokens), tokens):
        tokens = [[*tokens[candidate.beam], candidate.token] for candidate in living]
    return search.best


class Bench:
    """A scheduler with its allocator and residency; loads succeed at once when `load` is called.

    Drawn tokens are a function of the sequence's own tokens, so the tokens of a run must not
    depend on how it was planned.
    """

    def __init__(
        self,
        limits: Limits = LIMITS,
        *,
        num_blocks: int = 64,
        arena_images: int = 4,
        scheduling: SchedulingConfig = FCFS,
    ) -> None:
        self.blocks = BlockAllocator(num_blocks)
        self.residency = Residency(
            arena_images * IMAGE_SIZE,
            host_elements=2 * IMAGE_SIZE,
            num_slots=8,
            element_bytes=32,
        )
        self.ledger = Ledger(PRICES, self.residency)
        self.step_time = StepTime(PRICES)
        self.pace = Pace(limits, self.step_time, block_tokens=BLOCK_TOKENS)
        self.scheduler = Scheduler(
            limits,
            self.blocks,
            self.residency,
            order=make_order(scheduling, self.ledger),
            window=make_window(scheduling, tokens=limits.max_batch_tokens),
            pace=self.pace,
            block_tokens=BLOCK_TOKENS,
            base_digest="sha256:base",
            precision="float32",
        )
        self.now = 0.0
        self.arrivals = 0
        self.step_s = 1.0
        self.copied: list[str] = []
        self.tokens: dict[int, list[int]] = {}
        self.hypotheses: dict[int, list[Hypothesis]] = {}

    def submit(
        self,
        tokens: list[int],
        *,
        digest: str | None = None,
        max_tokens: int = 4,
        stop_tokens: frozenset[int] = frozenset(),
        deadline: float | None = None,
        salt: str = "",
        priority: Priority = Priority.NORMAL,
        beams: Beams | None = None,
    ) -> int:
        self.arrivals += 1
        request = Submit(
            stream=self.arrivals,
            digest=digest,
            tokens=tokens,
            sampling=Sampling(),
            max_tokens=max_tokens,
            stop_tokens=stop_tokens,
            salt=salt,
            deadline=deadline,
            priority=priority,
            beams=beams,
        )
        self.scheduler.submit(FRONT, request, arrival=self.arrivals, now=self.now)
        return self.arrivals

    def load(self) -> None:
        """Carry out whatever residency asks for."""
        self.residency.place(self.now)
        while commands := self.residency.take_commands():
            for command in commands:
                match command:
                    case Fetch(digest=digest):
                        self.residency.ready(digest, f"/cache/{digest}")
                    case Open(digest=digest):
                        self.residency.opened(digest, IMAGE_SIZE)
                    case Copy(digest=digest):
                        self.residency.copied(digest)
                        self.copied.append(digest)
                    case Park(digest=digest):
                        self.scheduler.park(digest, self.now)
            self.residency.place(self.now)

    def plan(self, *, after: Plan | None = None) -> Plan:
        self.now += self.step_s
        return self.scheduler.plan(self.now, after=after)

    def run(self, plan: Plan) -> list[Ended]:
        """Pretend to have run the plan."""
        self.scheduler.launched(plan)
        return self.land(plan)

    def land(self, plan: Plan) -> list[Ended]:
        """Pretend to have read what a plan draws that was launched."""
        drawn = [[next_token(chunk.sequence.tokens)] for chunk in plan.chunks if chunk.draws]
        searching = plan.searching
        ended = self.scheduler.advance(plan, drawn, now=self.now)
        ended += [found for s in searching if (found := self.search(s)) is not None]
        for sequence, _ in ended:
            self.tokens[sequence.request.stream] = sequence.tokens
        return ended

    def search(self, sequence: Sequence) -> Ended | None:
        """Let beams go on by `continuations`."""
        assert sequence.group is not None
        candidates = continuations(sequence.group.search, [row.tokens for row in sequence.rows])
        found = self.scheduler.search(sequence, candidates, now=self.now)
        if not found:
            return None
        self.hypotheses[sequence.request.stream] = found
        return Ended(sequence, found[0].reason)

    def step(self) -> Plan:
        self.load()
        plan = self.plan()
        self.run(plan)
        self.scheduler.check_integrity()
        return plan

    def finish(self, *, max_steps: int = 500) -> None:
        """Step until nothing is left."""
        for _ in range(max_steps):
            if not self.scheduler.waiting and not self.scheduler.running:
                return
            self.step()
        raise AssertionError(f"{len(self.scheduler.waiting)} wait after {max_steps} steps")
