"""What the front and the engine say to one another, and the local socket between them.

front → engine   Hello · Submit · Abort · Ready · Unready · Probe · Warm · Unpin · Locate
engine → front   Welcome · Tokens · PromptLogprobs · Hypotheses · Finished · Failed · Need · Probed
                 · Placed · Unplaced · Located · Stats

The engine binds one ROUTER socket, each front is a DEALER and is known by its peer id. Times are
seconds of the monotonic clock, which all processes of one machine share.
"""

from collections.abc import AsyncIterator, Iterator
from enum import Enum, IntEnum
from pathlib import Path

import msgspec
import zmq
import zmq.asyncio
from msgspec import Struct

from weft import __version__

BUILD = __version__
HIGH_WATER_MARK = 10_000  # messages that may wait for one front


class Priority(IntEnum):
    """Class of a request; the higher goes first."""

    LOW = 0
    NORMAL = 1
    HIGH = 2


class Sampling(Struct, frozen=True, gc=False):
    """How one sequence draws its tokens; temperature 0 is greedy.

    Attributes:
        presence_penalty: Taken from the logit of every token that was generated.
        frequency_penalty: The same, times how often it was.
        repetition_penalty: Divides the positive logits, and multiplies the negative ones, of tokens
            that the prompt has or that were generated.
        logit_bias: Added to the logits of these tokens.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int = 0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: dict[int, float] = {}

    @property
    def has_penalty(self) -> bool:
        """Whether what was said before matters."""
        penalties = (self.presence_penalty, self.frequency_penalty, self.repetition_penalty)
        return penalties != (0, 0, 1)


class EarlyStopping(Enum):
    """When a beam search ends whose places for complete hypotheses are all taken.

    HEURISTIC: when its best live one, at the length that it has, scores no more than the worst of
    them. NEVER: when it could not at any length. FIRST: at once.
    """

    HEURISTIC = "heuristic"
    FIRST = "first"
    NEVER = "never"


class Beams(Struct, frozen=True, gc=False):
    """A beam search in place of draws; names and scores are those of `generate` in transformers.

    Attributes:
        num: Hypotheses that live on after a step, and places for complete ones.
        num_best: Of the complete ones, so many are told.
        length_penalty: Of a complete hypothesis, the log-probability is divided by the length to
            this power.
    """

    num: int
    num_best: int = 1
    length_penalty: float = 1.0
    early_stopping: EarlyStopping = EarlyStopping.HEURISTIC


class Hello(Struct, frozen=True, tag=True):
    """A front introduces itself; the engine answers with Welcome."""

    build: str


class Submit(Struct, frozen=True, tag=True):
    """Start a sequence.

    Attributes:
        stream: Number of the sequence, unique within the front.
        digest: Adapter, or None for the base.
        salt: The tenant: separates prefix caches, and takes its share of the service.
        logprobs: Alternatives to report with every token, 0…20; None for no logprobs at all.
        deadline: Instant after which nobody waits for the answer.
        min_tokens: No stop token is drawn before so many others.
        grammar: Form of the completion, in llguidance's JSON; None = any.
        after: A stream of the same front and prompt, whose first token this one waits for, so that
            it finds the prompt computed.
        prompt_logprobs: The same as `logprobs`, for the prompt's own tokens.
        beams: The beam search to make; its tokens are told at the end, by Hypotheses.
    """

    stream: int
    digest: str | None
    tokens: list[int]
    sampling: Sampling
    max_tokens: int
    stop_tokens: frozenset[int]
    salt: str
    logprobs: int | None = None
    deadline: float | None = None
    priority: Priority = Priority.NORMAL
    min_tokens: int = 0
    grammar: str | None = None
    after: int | None = None
    prompt_logprobs: int | None = None
    beams: Beams | None = None

    @property
    def num_rows(self) -> int:
        """Rows that it may have in a step."""
        return 1 if self.beams is None else self.beams.num


class Abort(Struct, frozen=True, tag=True, gc=False):
    """End this sequence; answered by Finished if it has drawn tokens and has not ended."""

    stream: int


class Ready(Struct, frozen=True, tag=True, gc=False):
    """The image of `digest` lies on the local disk."""

    digest: str
    path: str


class Unready(Struct, frozen=True, tag=True):
    """The image of `digest` could not be brought to the local disk."""

    digest: str
    reason: str
    message: str


class Probe(Struct, frozen=True, tag=True, gc=False):
    """Show that the image changes the base's logits and equals the uploaded tensors.

    Attributes:
        image: Path of the packed image.
        config, weights: Paths of the uploaded files.
    """

    probe: int
    digest: str
    image: str
    config: str
    weights: str
    allow_no_effect: bool


class Warm(Struct, frozen=True, tag=True, gc=False):
    """Bring an adapter to a tier, `arena` or `host`; answered by Placed, or by Unplaced.

    Attributes:
        pin: Keep it there until Unpin.
    """

    call: int
    digest: str
    tier: str
    pin: bool = False


class Unpin(Struct, frozen=True, tag=True, gc=False):
    """Let an adapter go that was pinned."""

    digest: str


class Locate(Struct, frozen=True, tag=True, gc=False):
    """Say which adapters lie where; answered by Located."""

    call: int


class Welcome(Struct, frozen=True, tag=True):
    """The engine is ready to take sequences."""

    build: str
    base_digest: str
    max_context: int
    num_blocks: int
    block_tokens: int


class TokenLogprobs(Struct, frozen=True, gc=False):
    """Log-probabilities of one position in the raw distribution, likeliest alternative first."""

    logprob: float
    tokens: list[int]
    logprobs: list[float]


class Tokens(Struct, frozen=True, tag=True):
    """The tokens of one step, in columns: sequence `streams[i]` drew `tokens[i]`.

    `logprobs` has an entry per row if any row of the step asked, else it is empty.
    """

    streams: list[int]
    tokens: list[int]
    logprobs: list[TokenLogprobs | None] = []


class PromptLogprobs(Struct, frozen=True, tag=True):
    """Log-probabilities of further tokens of a prompt, in order; its first token has none."""

    stream: int
    logprobs: list[TokenLogprobs]


class Hypothesis(Struct, frozen=True, gc=False):
    """A complete hypothesis of a beam search; `reason` is `stop` or `length`."""

    tokens: list[int]
    score: float
    reason: str


class Hypotheses(Struct, frozen=True, tag=True):
    """What a beam search has found, the best first; Finished comes next."""

    stream: int
    hypotheses: list[Hypothesis]


class Finished(Struct, frozen=True, tag=True):
    """A sequence ended, all its tokens sent; `reason` is `stop`, `length` or `abort`."""

    stream: int
    reason: str
    prompt_tokens: int
    cached_tokens: int
    generated_tokens: int
    queue_s: float
    load_s: float
    prefill_s: float
    decode_s: float
    tier: str


class Failed(Struct, frozen=True, tag=True):
    """A sequence ended by a fault; `reason` is a name of the API's error reasons."""

    stream: int
    reason: str
    message: str
    metadata: dict[str, str] = {}


class Need(Struct, frozen=True, tag=True, gc=False):
    """Bring the image of `digest` to the local disk; answered by Ready or Unready."""

    digest: str


class Placed(Struct, frozen=True, tag=True, gc=False):
    """A tier that holds an adapter; the last answer when it is the asked one or a nearer."""

    call: int
    tier: str
    reached: bool


class Unplaced(Struct, frozen=True, tag=True):
    """An adapter could not be brought or kept; `reason` is a name of the API's error reasons."""

    call: int
    reason: str
    message: str
    metadata: dict[str, str] = {}


class Held(Struct, frozen=True):
    """An adapter in the engine's memory.

    Attributes:
        tier: The nearest, `arena` or `host`.
        pinned: The tier that it does not leave.
        idle_s: Since a sequence was last started on it.
    """

    digest: str
    tier: str
    num_bytes: int
    pinned: str | None
    idle_s: float | None


class Located(Struct, frozen=True, tag=True):
    """Every adapter in the engine's memory."""

    call: int
    held: list[Held]


class FoundViolation(Struct, frozen=True, gc=False):
    """One reason why a probe refuses an adapter."""

    code: str
    path: str
    found: str
    expected: str


class Probed(Struct, frozen=True, tag=True):
    """What a probe found: no violations means that the adapter may be published."""

    probe: int
    violations: list[FoundViolation]
    largest_error: float = 0.0
    logit_change: float = 0.0


class StepSample(Struct, frozen=True, gc=False):
    """One engine step: `kind` is `prefill`, `decode` or `mixed`."""

    kind: str
    seconds: float
    tokens: int
    distinct_adapters: int


class LoadSample(Struct, frozen=True, gc=False):
    """One adapter load, from a tier to the arena."""

    origin: str
    seconds: float


class Stats(Struct, frozen=True, tag=True):
    """The engine's figures: gauges as they are, samples and counts since the last message.

    Attributes:
        lookups: Requests by the tier where their adapter lay: arena, host, disk or store.
    """

    running: int
    waiting_budget: int
    waiting_blocks: int
    waiting_adapter: int
    free_blocks: int
    cached_blocks: int
    used_blocks: int
    arena_used_bytes: int
    arena_total_bytes: int
    host_used_bytes: int
    host_total_bytes: int
    host_adapters: int
    resident: list[str]
    steps: list[StepSample] = []
    loads: list[LoadSample] = []
    lookups: dict[str, int] = {}
    evictions: int = 0
    host_evictions: int = 0
    parks: int = 0
    prefetches: int = 0


FrontMessage = Hello | Submit | Abort | Ready | Unready | Probe | Warm | Unpin | Locate
EngineMessage = (
    Welcome
    | Tokens
    | PromptLogprobs
    | Hypotheses
    | Finished
    | Failed
    | Need
    | Probed
    | Placed
    | Unplaced
    | Located
    | Stats
)

_encode = msgspec.msgpack.Encoder().encode
_front_decoder: msgspec.msgpack.Decoder[FrontMessage] = msgspec.msgpack.Decoder(FrontMessage)
_engine_decoder: msgspec.msgpack.Decoder[EngineMessage] = msgspec.msgpack.Decoder(EngineMessage)


class EngineSocket:
    """The engine's end: bound, never blocks on a slow front."""

    def __init__(self, path: Path) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MARK)
        self._socket.setsockopt(zmq.LINGER, 0)
        path.unlink(missing_ok=True)
        self._socket.bind(f"ipc://{path}")
        path.chmod(0o600)

    def receive(self, *, timeout_s: float) -> Iterator[tuple[bytes, FrontMessage]]:
        """Yield every message that has arrived, after waiting at most `timeout_s` for the first."""
        if not self._socket.poll(int(timeout_s * 1000)):
            return
        while True:
            try:
                peer, body = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            yield peer, _front_decoder.decode(body)

    def send(self, peer: bytes, message: EngineMessage) -> bool:
        """Queue a message; False if the front is gone or has stopped reading."""
        try:
            self._socket.send_multipart([peer, _encode(message)], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno in (zmq.EAGAIN, zmq.EHOSTUNREACH):
                return False
            raise
        return True

    def close(self) -> None:
        self._context.destroy()


class FrontSocket:
    """A front's end: connects, and connects again when the engine comes back."""

    def __init__(self, path: Path) -> None:
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 50)
        self._socket.setsockopt(zmq.IMMEDIATE, 1)
        events = zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED
        self._monitor = self._socket.get_monitor_socket(events)
        self._socket.connect(f"ipc://{path}")

    async def send(self, message: FrontMessage) -> None:
        await self._socket.send(_encode(message))

    async def receive(self) -> EngineMessage:
        return _engine_decoder.decode(await self._socket.recv())

    async def connections(self) -> AsyncIterator[bool]:
        """Yield True whenever the engine's socket is reached and False whenever it is lost."""
        while True:
            event, _ = await self._monitor.recv_multipart()
            yield int.from_bytes(event[:2], "little") == zmq.EVENT_CONNECTED

    def close(self) -> None:
        self._context.destroy()
