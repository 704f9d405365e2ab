"""Requests checked field by field: every violation in one answer, every unserved field by name."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from msgspec import structs
from transformers import GenerationConfig

from weft.adapters.errors import Unsupported
from weft.protos.v1 import inference_pb2, types_pb2
from weft.server.channel import Beams, Priority, Sampling

from .beams import read_beams
from .constraints import read_constraint
from .fields import MAX_REQUEST_ID, Findings

MAX_STOPS = 16
MAX_LOGPROBS = 20
MAX_COMPLETIONS = 8
MAX_BIASES = 300
MAX_BIAS = 100
DEFAULT_FLUSH_MS = 15
MAX_FLUSH_MS = 1000
PRIORITIES = {
    types_pb2.PRIORITY_UNSPECIFIED: Priority.NORMAL,
    types_pb2.PRIORITY_HIGH: Priority.HIGH,
    types_pb2.PRIORITY_NORMAL: Priority.NORMAL,
    types_pb2.PRIORITY_LOW: Priority.LOW,
}


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the base's generation config says about requests that say nothing."""

    temperature: float
    top_k: int | None
    top_p: float
    min_p: float
    repetition_penalty: float
    end_tokens: frozenset[int]

    @classmethod
    def of(cls, config: GenerationConfig) -> "Defaults":
        """`do_sample: false` is greedy; what is not said is neutral."""
        end = config.eos_token_id
        greedy = config.do_sample is False
        return cls(
            temperature=0.0 if greedy else _or(config.temperature, 1.0),
            top_k=config.top_k or None,
            top_p=_or(config.top_p, 1.0),
            min_p=_or(config.min_p, 0.0),
            repetition_penalty=_or(config.repetition_penalty, 1.0),
            end_tokens=frozenset([end] if isinstance(end, int) else end or []),
        )


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


@dataclass(frozen=True, slots=True)
class Plan:
    """A checked request, less its prompt."""

    request_id: str
    n: int
    sampling: Sampling
    max_tokens: int | None
    stop: tuple[str, ...]
    stop_tokens: frozenset[int]
    min_tokens: int
    grammar: str | None
    include_stop: bool
    logprobs: int | None
    prompt_logprobs: int | None
    flush_s: float
    beams: Beams | None = None
    priority: Priority = Priority.NORMAL
    has_seed: bool = False

    @property
    def is_deterministic(self) -> bool:
        """Whether it can have but one answer: nothing in it is left to a seed that was drawn."""
        return self.has_seed or self.sampling.temperature == 0

    def sampling_of(self, index: int) -> Sampling:
        """How a completion draws: the first with the request's seed, each other with the next."""
        return structs.replace(self.sampling, seed=(self.sampling.seed + index) % 2**64)


def read_generate(
    request: inference_pb2.GenerateRequest, defaults: Defaults, *, vocab_size: int
) -> Plan:
    """Check everything that can be checked without tokenising.

    Raises:
        RequestInvalid: With every violation.
        Unsupported: Naming a field that this server does not serve.
    """
    _refuse_unserved(request)
    findings = Findings()
    stopping = request.stopping
    flush_ms = request.flush_ms if request.HasField("flush_ms") else DEFAULT_FLUSH_MS
    sampling = _read_sampling(request.sampling, defaults, findings, vocab_size=vocab_size)
    _check_model(request.model, findings)
    _check_prompt(request, vocab_size, findings)
    findings.check(
        len(request.request_id) <= MAX_REQUEST_ID,
        "request_id",
        request.request_id,
        f"at most {MAX_REQUEST_ID} characters",
    )
    if stopping.HasField("max_tokens"):
        findings.check(
            stopping.max_tokens >= 1, "stopping.max_tokens", stopping.max_tokens, "at least 1"
        )
        findings.check(
            stopping.min_tokens <= stopping.max_tokens or not stopping.max_tokens,
            "stopping.min_tokens",
            stopping.min_tokens,
            f"at most max_tokens, {stopping.max_tokens}",
        )
    findings.check(
        len(stopping.stop) <= MAX_STOPS, "stopping.stop", len(stopping.stop), f"at most {MAX_STOPS}"
    )
    findings.check(all(stopping.stop), "stopping.stop", "", "a string that is not empty")
    findings.check(
        len(stopping.stop_token_ids) <= MAX_STOPS,
        "stopping.stop_token_ids",
        len(stopping.stop_token_ids),
        f"at most {MAX_STOPS}",
    )
    findings.check(
        request.priority in PRIORITIES, "priority", request.priority, "HIGH, NORMAL or LOW"
    )
    n = request.n if request.HasField("n") else 1
    findings.check(1 <= n <= MAX_COMPLETIONS, "n", n, f"1 to {MAX_COMPLETIONS}")
    for name, value, limit in (
        ("logprobs", request.logprobs, MAX_LOGPROBS),
        ("prompt_logprobs", request.prompt_logprobs, MAX_LOGPROBS),
        ("flush_ms", flush_ms, MAX_FLUSH_MS),
    ):
        findings.check(value <= limit, name, value, f"at most {limit}")
    beams = read_beams(request, findings, n=n)
    grammar = None
    if request.HasField("constraint"):
        grammar = read_constraint(request.constraint, findings)
    findings.done()
    ends = frozenset() if stopping.ignore_end_token else defaults.end_tokens
    return Plan(
        request_id=request.request_id or secrets.token_hex(8),
        n=n,
        sampling=sampling if beams is None else structs.replace(sampling, temperature=0.0),
        max_tokens=stopping.max_tokens if stopping.HasField("max_tokens") else None,
        stop=tuple(stopping.stop),
        stop_tokens=ends | frozenset(stopping.stop_token_ids),
        min_tokens=stopping.min_tokens,
        grammar=grammar,
        include_stop=stopping.include_stop,
        logprobs=request.logprobs if request.HasField("logprobs") else None,
        prompt_logprobs=(request.prompt_logprobs if request.HasField("prompt_logprobs") else None),
        flush_s=flush_ms / 1000,
        beams=beams,
        priority=PRIORITIES[request.priority],
        has_seed=request.sampling.HasField("seed"),
    )


def read_tokenize(request: inference_pb2.TokenizeRequest) -> None:
    """Check a request to tokenise; raise RequestInvalid."""
    findings = Findings()
    _check_model(request.model, findings)
    findings.check(request.WhichOneof("prompt") is not None, "prompt", None, "text or chat")
    if request.WhichOneof("prompt") == "chat":
        findings.check(len(request.chat.messages) > 0, "chat.messages", 0, "at least 1 message")
    findings.done()


def _check_model(model: str, findings: Findings) -> None:
    findings.check(
        bool(model), "model", model, "a reference; the base is asked for by its served name"
    )


def _check_prompt(
    request: inference_pb2.GenerateRequest, vocab_size: int, findings: Findings
) -> None:
    match request.WhichOneof("prompt"):
        case None:
            findings.check(False, "prompt", None, "text, chat or tokens")
        case "text":
            findings.check(bool(request.text), "text", "", "at least one character")
        case "chat":
            findings.check(len(request.chat.messages) > 0, "chat.messages", 0, "at least 1 message")
        case "tokens":
            ids = request.tokens.ids
            findings.check(len(ids) > 0, "tokens.ids", 0, "at least 1 token")
            largest = max(ids, default=0)
            findings.check(
                largest < vocab_size, "tokens.ids", largest, f"below the vocabulary's {vocab_size}"
            )


def _read_sampling(
    sampling: inference_pb2.Sampling, defaults: Defaults, findings: Findings, *, vocab_size: int
) -> Sampling:
    def given(name: str, default: float) -> float:
        return float(getattr(sampling, name)) if sampling.HasField(name) else default

    temperature = given("temperature", defaults.temperature)
    top_p = given("top_p", defaults.top_p)
    min_p = given("min_p", defaults.min_p)
    findings.check(0 <= temperature <= 2, "sampling.temperature", temperature, "in [0, 2]")
    findings.check(0 < top_p <= 1, "sampling.top_p", top_p, "in (0, 1]")
    findings.check(0 <= min_p <= 1, "sampling.min_p", min_p, "in [0, 1]")
    repetition = given("repetition_penalty", defaults.repetition_penalty)
    name = "sampling.repetition_penalty"
    findings.check(0 < repetition <= 2, name, repetition, "in (0, 2]")
    for kind in ("presence_penalty", "frequency_penalty"):
        penalty = getattr(sampling, kind)
        findings.check(-2 <= penalty <= 2, f"sampling.{kind}", penalty, "in [-2, 2]")
    _check_bias(sampling.logit_bias, findings, vocab_size=vocab_size)
    if sampling.HasField("top_k"):
        findings.check(sampling.top_k >= 1, "sampling.top_k", sampling.top_k, "at least 1")
    return Sampling(
        temperature=temperature,
        top_k=sampling.top_k if sampling.HasField("top_k") else defaults.top_k,
        top_p=top_p,
        min_p=min_p,
        seed=sampling.seed if sampling.HasField("seed") else secrets.randbits(63),
        presence_penalty=sampling.presence_penalty,
        frequency_penalty=sampling.frequency_penalty,
        repetition_penalty=repetition,
        logit_bias=dict(sampling.logit_bias),
    )


def _check_bias(bias: Mapping[int, float], findings: Findings, *, vocab_size: int) -> None:
    name = "sampling.logit_bias"
    findings.check(len(bias) <= MAX_BIASES, name, len(bias), f"at most {MAX_BIASES} tokens")
    for token, value in bias.items():
        findings.check(token < vocab_size, name, token, f"below the vocabulary's {vocab_size}")
        findings.check(abs(value) <= MAX_BIAS, name, value, f"in [-{MAX_BIAS}, {MAX_BIAS}]")


def _refuse_unserved(request: inference_pb2.GenerateRequest) -> None:
    """Raise Unsupported for the first field that asks for what is declared but not served."""
    if request.adapters:
        raise Unsupported("adapters is not served by this server", field="adapters")
