"""Drives an engine in this process: stands where a front stands, without a socket between."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from weft.adapters.sites import BaseFacts
from weft.server.channel import (
    Abort,
    EngineMessage,
    Failed,
    Finished,
    LoadSample,
    Need,
    Placed,
    Ready,
    Sampling,
    StepSample,
    Submit,
    TokenLogprobs,
    Tokens,
    Unplaced,
    Warm,
)
from weft.server.config import EngineConfig
from weft.server.engine.engine import Engine
from weft.server.model.loader import LoadedModel

from .errors import RunFailed

PEER = b"bench"
WAIT_S = 5.0


class Request(NamedTuple):
    """A prompt for an adapter, or for the base; of exactly `new_tokens`, greedy unless it says."""

    tokens: list[int]
    digest: str | None
    new_tokens: int
    sampling: Sampling = Sampling()


@dataclass(slots=True)
class Answer:
    """What came back of one request.

    Attributes:
        num_draws: Steps that drew for it, whatever the number of tokens that each brought.
    """

    tokens: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    finished: Finished | None = None
    num_draws: int = 0


class Run(NamedTuple):
    """Requests that were submitted together, and what the engine says of its steps."""

    answers: Sequence[Answer]
    seconds: float
    steps: Sequence[StepSample]
    loads: Sequence[LoadSample]


class Steps(NamedTuple):
    """Milliseconds of steps, and the loads that ended meanwhile."""

    ms: list[float]
    loads: Sequence[LoadSample]


@dataclass(slots=True)
class Bringing:
    """An adapter on its way to the arena."""

    began_s: float
    ended_s: float | None = None

    @property
    def is_done(self) -> bool:
        return self.ended_s is not None

    @property
    def ms(self) -> float:
        """How long it took, once it is done."""
        assert self.ended_s is not None
        return 1000 * (self.ended_s - self.began_s)


class Driver:
    """Submits to an engine of its own and keeps what it is told."""

    def __init__(
        self,
        model: LoadedModel,
        facts: BaseFacts,
        config: EngineConfig,
        images: Mapping[str, Path],
    ) -> None:
        self.engine = Engine(model, facts, config, send=self._hear)
        self._images = images
        self._needs: list[str] = []
        self._answers: dict[int, Answer] = {}
        self._bringings: dict[int, Bringing] = {}
        self._num_streams = 0
        self._num_runs = 0
        self._failure: Failed | None = None

    def run(self, requests: Sequence[Request], *, logprobs: int | None = None) -> Run:
        """Submit all at once and step until every one has ended; no run reuses another's prefix.

        Raises:
            RunFailed: A sequence ended by a fault.
        """
        self._num_runs += 1
        self.engine.stats()
        began = time.perf_counter()
        streams = [self._submit(request, logprobs) for request in requests]
        while any(self._answers[stream].finished is None for stream in streams):
            self._advance()
        seconds = time.perf_counter() - began
        stats = self.engine.stats()
        answers = [self._answers.pop(stream) for stream in streams]
        return Run(answers, seconds, stats.steps, stats.loads)

    @contextmanager
    def decoding(self, requests: Sequence[Request]) -> Iterator[None]:
        """Submit all at once, and yield when each has its first token; abort them at the end.

        Raises:
            RunFailed: A sequence ended by a fault.
        """
        self._num_runs += 1
        streams = [self._submit(request, None) for request in requests]
        while not all(self._answers[stream].tokens for stream in streams):
            self._advance()
        self.engine.stats()
        yield
        for stream in streams:
            self.engine.receive(PEER, Abort(stream))
        self._advance()
        for stream in streams:
            del self._answers[stream]

    def time_steps(self, num: int, *, batch: int) -> Steps:
        """Time decodes by the wall clock.

        Raises:
            RunFailed: A step was another than a decode of `batch` sequences.
        """
        times = []
        for _ in range(num):
            began = time.perf_counter()
            self._advance()
            times.append(1000 * (time.perf_counter() - began))
        stats = self.engine.stats()
        kinds = {(step.kind, step.tokens) for step in stats.steps}
        if kinds != {("decode", batch)}:
            raise RunFailed(f"steps were {kinds} in place of decodes of {batch} sequences")
        return Steps(times, stats.loads)

    def bring(self, digest: str) -> float:
        """Bring an adapter into the arena while nothing runs; milliseconds until it is there."""
        errand = self.begin_bring(digest)
        while not errand.is_done:
            self._advance()
        return errand.ms

    def begin_bring(self, digest: str) -> "Bringing":
        """Ask for an adapter in the arena; steps bring it."""
        self._num_streams += 1
        bringing = self._bringings[self._num_streams] = Bringing(time.perf_counter())
        self.engine.receive(PEER, Warm(self._num_streams, digest, "arena"))
        return bringing

    def close(self) -> None:
        self.engine.close()

    def _submit(self, request: Request, logprobs: int | None) -> int:
        self._num_streams += 1
        stream = self._num_streams
        self._answers[stream] = Answer()
        self.engine.receive(
            PEER,
            Submit(
                stream=stream,
                digest=request.digest,
                tokens=request.tokens,
                sampling=request.sampling,
                max_tokens=request.new_tokens,
                stop_tokens=frozenset(),
                salt=str(self._num_runs),
                logprobs=logprobs,
            ),
        )
        return stream

    def _advance(self) -> None:
        """Bring the images that are needed and run a step, or wait for a load."""
        for digest in self._needs:
            self.engine.receive(PEER, Ready(digest, str(self._images[digest])))
        self._needs.clear()
        if not self.engine.step() and self.engine.is_loading:
            self.engine.wait(WAIT_S)
        failure, self._failure = self._failure, None
        if failure is not None:
            raise RunFailed(f"{failure.reason}: {failure.message}")

    def _hear(self, peer: bytes, message: EngineMessage) -> bool:
        match message:
            case Tokens():
                logprobs = message.logprobs or [None] * len(message.tokens)
                rows = zip(message.streams, message.tokens, logprobs, strict=True)
                for stream, token, logprob in rows:
                    self._answers[stream].tokens.append(token)
                    if logprob is not None:
                        self._answers[stream].logprobs.append(logprob)
                for stream in set(message.streams):
                    self._answers[stream].num_draws += 1
            case Finished():
                self._answers[message.stream].finished = message
            case Failed():
                self._failure = message
            case Need():
                self._needs.append(message.digest)
            case Placed(call, _, reached=True):
                self._bringings.pop(call).ended_s = time.perf_counter()
            case Unplaced(_, reason, text):
                self._failure = Failed(0, reason, text, {})
        return True
