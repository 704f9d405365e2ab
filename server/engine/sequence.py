"""A sequence: what the engine runs for one request."""

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from weft.server.channel import Finished, Sampling, Submit

if TYPE_CHECKING:
    from .beam_group import BeamGroup
    from .constraint import Constraint  # imports transformers; a plan needs it not


TOLD_TOKENS = 256  # logits of so many positions of one prompt in a step: 128 MiB at 128k tokens


class State(Enum):
    """WAITING and LOADING wait for budget and blocks, or for their adapter.

    PREEMPTED has lost its blocks, PARKED its adapter's slot only: it goes on where it was.
    """

    WAITING = "waiting"
    LOADING = "loading"
    RUNNING = "running"
    PREEMPTED = "preempted"
    PARKED = "parked"
    FINISHED = "finished"


@dataclass(slots=True, eq=False)
class Sequence:
    """One request's tokens and what it holds of the engine.

    Attributes:
        peer: The front that submitted it.
        arrival: Order of arrival over all fronts.
        root: Key that stands before the first block's key.
        tier: Where its adapter lay at arrival: `arena`, `disk` or `store`; empty for the base.
        tokens: The prompt, then what was drawn.
        num_computed: Leading tokens whose keys and values are in its blocks.
        num_cached: Tokens that its first admission found computed.
        blocks: Block table.
        keys: Keys of its full blocks, as far as they were needed.
        constraint: Its place in the grammar that the request gives, if it gives one.
        num_charged: Leading tokens whose blocks it holds and that its tenant has been charged for.
        slot: Row of the offset table, pinned while it runs; None for the base and while it waits.
        num_preemptions: How often it lost its blocks; draws of before are passed over.
        num_told: Leading positions whose log-probabilities the front has, where it asked for them.
        group: Of a sequence that asks for a beam search: its beams, which no queue knows.
        leader: Of a beam: the sequence that the queues know.
        source: Of a beam: the block that its last one has to be a copy of before the next step.
        load_s: Time spent LOADING.
    """

    peer: bytes
    request: Submit
    arrival: int
    root: bytes
    submitted_at: float
    tier: str = ""
    tokens: list[int] = field(init=False)
    state: State = State.WAITING
    num_computed: int = 0
    num_cached: int = 0
    num_charged: int = 0
    blocks: list[int] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    slot: int | None = None
    loading_since: float | None = None
    load_s: float = 0.0
    admitted_at: float | None = None
    first_token_at: float | None = None
    num_told: int = 0
    num_preemptions: int = 0
    constraint: "Constraint | None" = None
    group: "BeamGroup | None" = None
    leader: "Sequence | None" = None
    source: int | None = None
    _counts: dict[int, int] = field(default_factory=dict)
    _num_counted: int = 0

    def __post_init__(self) -> None:
        self.tokens = list(self.request.tokens)

    @property
    def digest(self) -> str | None:
        return self.request.digest

    @property
    def tenant(self) -> str:
        return self.request.salt

    @property
    def tells_prompt(self) -> bool:
        """Whether log-probabilities of its prompt are still to come."""
        request = self.request
        return request.prompt_logprobs is not None and self.num_told < len(request.tokens) - 1

    @property
    def looks_back(self) -> bool:
        """Whether the host must know its tokens before the next one is drawn."""
        request = self.request
        return (
            self.constraint is not None or request.sampling.has_penalty or request.beams is not None
        )

    @property
    def num_generated(self) -> int:
        return len(self.tokens) - len(self.request.tokens)

    @property
    def num_ready(self) -> int:
        """Leading tokens that can be computed: all, but of beams only what they share at first."""
        group = self.group
        return len(self.tokens) if group is None or group.is_forked else group.num_shared

    @property
    def num_uncomputed(self) -> int:
        return self.num_ready - self.num_computed

    @property
    def num_rows(self) -> int:
        """Rows that it may have in a step."""
        return self.request.num_rows

    @property
    def rows(self) -> "list[Sequence]":
        """What runs for it: itself, or its beams."""
        group = self.group
        return [self] if group is None or not group.is_forked else group.beams

    def beam(self) -> "Sequence":
        """Make a beam of it, as long as its prompt."""
        beam = Sequence(self.peer, self.request, self.arrival, self.root, self.submitted_at)
        beam.leader = self
        return beam

    def follow(self, other: "Sequence") -> None:
        """Go on, as a beam, from what another row has computed; nothing is held yet."""
        self.blocks, self.keys = list(other.blocks), list(other.keys)
        self.num_computed, self.slot = other.num_computed, other.slot
        self.num_charged = max(self.num_charged, other.num_charged)
        self._num_counted = 0

    def chunk(self, budget: int) -> int:
        """How many tokens of each row one step computes."""
        most = budget // len(self.rows)
        return min(self.num_uncomputed, min(most, TOLD_TOKENS) if self.tells_prompt else most)

    def count_tokens(self) -> dict[int, int]:
        """How often each token was generated; one of the prompt alone counts as 0."""
        if not self._num_counted:
            self._counts = dict.fromkeys(self.request.tokens, 0)
            self._num_counted = len(self.request.tokens)
        for token in self.tokens[self._num_counted :]:
            self._counts[token] = self._counts.get(token, 0) + 1
        self._num_counted = len(self.tokens)
        return self._counts

    def wait_for_adapter(self, now: float) -> None:
        """Start to account for LOADING; a preempted sequence has had its first wait already."""
        if self.state is State.WAITING:
            self.loading_since = now
            self.state = State.LOADING

    def stop_waiting(self, now: float) -> None:
        """Account for the time spent LOADING."""
        if self.loading_since is not None:
            self.load_s += now - self.loading_since
            self.loading_since = None

    def append(self, token: int, now: float) -> str | None:
        """Add a drawn token; answer why the sequence ends with it, if it does."""
        self.tokens.append(token)
        if self.first_token_at is None:
            self.first_token_at = now
        if token in self.request.stop_tokens:
            return "stop"
        if self.constraint is not None and self.constraint.take(token):
            return "stop"
        return "length" if self.num_generated >= self.request.max_tokens else None

    def finished(self, reason: str, now: float) -> Finished:
        """Make the message that ends the stream."""
        assert self.admitted_at is not None
        assert self.first_token_at is not None
        return Finished(
            stream=self.request.stream,
            reason=reason,
            prompt_tokens=len(self.request.tokens),
            cached_tokens=self.num_cached,
            generated_tokens=self.num_generated if self.group is None else self.group.num_told,
            queue_s=self.admitted_at - self.submitted_at - self.load_s,
            load_s=self.load_s,
            prefill_s=self.first_token_at - self.admitted_at,
            decode_s=now - self.first_token_at,
            tier=self.tier,
        )


def alone(tokens: list[int], *, num_blocks: int, slot: int | None = None) -> Sequence:
    """Make a sequence that nobody asked for, on the first blocks of a cache of its own."""
    request = Submit(
        stream=0,
        digest=None,
        tokens=tokens,
        sampling=Sampling(),
        max_tokens=1,
        stop_tokens=frozenset(),
        salt="",
    )
    sequence = Sequence(b"", request, arrival=0, root=b"", submitted_at=0.0)
    sequence.blocks = list(range(num_blocks))
    sequence.slot = slot
    return sequence
