"""One Generate call: from a checked request and a resolved target to the messages of its stream."""

import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from weft.protos.v1 import inference_pb2, types_pb2
from weft.protos.v1.inference_pb2 import Chunk, GenerateResponse
from weft.server.channel import Finished, Hypotheses, PromptLogprobs, Submit, TokenLogprobs
from weft.server.errors import FieldViolation, PromptTooLong

from .detokenizer import Detokenizer
from .engine_link import EngineLink, Said, Token
from .messages import TIERS
from .prompts import Tokenizer
from .requests import Plan

REASONS = {
    "stop": inference_pb2.FINISH_REASON_STOP,
    "length": inference_pb2.FINISH_REASON_LENGTH,
}


@dataclass(slots=True)
class Outcome:
    """What became of a call, for its log line and metrics."""

    generated_tokens: int = 0
    first_token_s: float | None = None
    last_token_s: float | None = None
    reason: str = ""
    usage: inference_pb2.Usage = field(default_factory=inference_pb2.Usage)

    def saw_tokens(self, count: int, *, elapsed_s: float) -> None:
        self.generated_tokens += count
        self.last_token_s = elapsed_s
        if self.first_token_s is None:
            self.first_token_s = elapsed_s

    def later_token_s(self) -> float | None:
        """Mean time of a token after the first; None when there is no such token."""
        if self.first_token_s is None or self.last_token_s is None or self.generated_tokens < 2:
            return None
        return (self.last_token_s - self.first_token_s) / (self.generated_tokens - 1)


def longest_completion(plan: Plan, *, prompt_tokens: int, max_context: int) -> int:
    """Tokens that may be generated; raise PromptTooLong with both figures when they do not fit."""
    wanted = plan.max_tokens if plan.max_tokens is not None else 1
    if prompt_tokens + wanted > max_context:
        found = f"{prompt_tokens} prompt tokens and {wanted} more exceed the context, {max_context}"
        raise PromptTooLong(
            (FieldViolation("prompt", found),),
            prompt_tokens=prompt_tokens,
            max_tokens=wanted,
            max_context=max_context,
        )
    return plan.max_tokens if plan.max_tokens is not None else max_context - prompt_tokens


@dataclass(slots=True)
class Completion:
    """One completion, from the engine's tokens to text."""

    index: int
    stream: int
    text: Detokenizer
    stop: str | None = None
    last_token: int | None = None
    num_tokens: int = 0
    finished: Finished | None = None


class Generation:
    """Turns the engine's tokens into chunks of text until every completion ends."""

    def __init__(self, plan: Plan, tokenizer: Tokenizer) -> None:
        self._plan = plan
        self._tokenizer = tokenizer
        self._prompt: list[int] = []
        self._told: list[TokenLogprobs] = []
        self._completions: dict[int, Completion] = {}
        self._began = time.monotonic()
        self.outcome = Outcome()

    def elapsed_s(self) -> float:
        return time.monotonic() - self._began

    async def run(
        self, link: EngineLink, make: Callable[[int, int, int | None], Submit]
    ) -> AsyncGenerator[GenerateResponse, None]:
        """Yield chunks and each completion's `finished`, then `usage`.

        Args:
            make: The message for the engine, given the number of the stream, the index of the
                completion, and the stream of the first one, which the others follow.
        """

        def submit(number: int) -> Submit:
            first = next(iter(self._completions), None)
            index = len(self._completions)
            self._completions[number] = Completion(index, number, self._detokenizer())
            message = make(number, index, first)
            self._prompt = message.tokens
            return message

        num_streams = 1 if self._plan.beams is not None else self._plan.n
        batches = link.stream(submit, n=num_streams, flush_s=self._plan.flush_s)
        async with aclosing(batches):
            async for batch in batches:
                for response in self._tell(batch, link):
                    yield response
        yield GenerateResponse(usage=self._usage())

    def replay(self, answer: Sequence[GenerateResponse]) -> Iterator[GenerateResponse]:
        """Give an answer that was kept, with the usage of what it takes now."""
        for response in answer:
            if response.HasField("finished") and response.finished.index == 0:
                self.outcome.reason = _name(response.finished)
            if response.HasField("chunk"):
                num = len(response.chunk.token_ids)
                self.outcome.saw_tokens(num, elapsed_s=self.elapsed_s())
            if not response.HasField("usage"):
                yield response
                continue
            self.outcome.usage = inference_pb2.Usage(
                prompt_tokens=response.usage.prompt_tokens,
                cached_tokens=response.usage.prompt_tokens,
                generated_tokens=response.usage.generated_tokens,
                from_response_cache=True,
            )
            yield GenerateResponse(usage=self.outcome.usage)

    def _detokenizer(self) -> Detokenizer:
        return Detokenizer(
            self._tokenizer.hf.backend_tokenizer,
            stop=self._plan.stop,
            include_stop=self._plan.include_stop,
        )

    def _tell(self, batch: list[Said], link: EngineLink) -> Iterator[GenerateResponse]:
        """What a batch of events brings: one chunk for each completion, then those that ended."""
        tokens: dict[int, list[Token]] = {}
        for event in batch:
            if isinstance(event, PromptLogprobs):
                self._told += event.logprobs
            elif isinstance(event, Token):
                tokens.setdefault(event.stream, []).append(event)
        for stream, new in tokens.items():
            completion = self._completions[stream]
            if completion.stop is None:
                yield GenerateResponse(chunk=self._chunk(completion, new))
                if completion.stop is not None:
                    link.abort(stream)  # answered by Finished with the figures
        yield from self._tell_ends(batch)

    def _tell_ends(self, batch: list[Said]) -> Iterator[GenerateResponse]:
        """What a batch brings of completions that end."""
        for event in batch:
            if isinstance(event, Hypotheses):
                yield from self._found(event)
            elif isinstance(event, Finished):
                completion = self._completions[event.stream]
                completion.finished = event
                if self._plan.beams is None:  # whose completions have ended
                    yield from self._end(completion, event.reason)

    def _found(self, found: Hypotheses) -> Iterator[GenerateResponse]:
        """A completion for each hypothesis of a beam search: one chunk, and its end."""
        for index, hypothesis in enumerate(found.hypotheses):
            completion = Completion(index, found.stream, self._detokenizer())
            said = [Token(found.stream, token, None) for token in hypothesis.tokens]
            yield GenerateResponse(chunk=self._chunk(completion, said))
            yield from self._end(completion, hypothesis.reason, score=hypothesis.score)

    def _chunk(self, completion: Completion, tokens: list[Token]) -> Chunk:
        """Text and tokens up to and including the one that completes a stop string, if one does."""
        chunk = Chunk(index=completion.index, prompt_logprobs=self._prompt_logprobs(completion))
        for _, token, logprobs in tokens:
            chunk.token_ids.append(token)
            if logprobs is not None:
                chunk.logprobs.append(self._logprobs(token, logprobs))
            completion.last_token = token
            completion.num_tokens += 1
            if token in self._plan.stop_tokens and not self._plan.include_stop:
                continue
            may_stop = completion.num_tokens > self._plan.min_tokens
            piece = completion.text.push(token, may_stop=may_stop)
            chunk.text += piece.text
            if piece.stop is not None:
                completion.stop = piece.stop
                break
        self.outcome.saw_tokens(len(chunk.token_ids), elapsed_s=self.elapsed_s())
        return chunk

    def _prompt_logprobs(self, completion: Completion) -> list[inference_pb2.TokenLogprobs]:
        """With the first chunk of the first completion: those of the prompt, if they were asked."""
        if completion.index or completion.num_tokens:
            return []
        tokens = self._prompt[1 : len(self._told) + 1]
        return [self._logprobs(*entry) for entry in zip(tokens, self._told, strict=True)]

    def _logprobs(self, token: int, found: TokenLogprobs) -> inference_pb2.TokenLogprobs:
        return inference_pb2.TokenLogprobs(
            chosen=self._logprob(token, found.logprob),
            alternatives=map(self._logprob, found.tokens, found.logprobs),
        )

    def _logprob(self, token: int, logprob: float) -> inference_pb2.TokenLogprob:
        return inference_pb2.TokenLogprob(
            token_id=token, token=self._tokenizer.token_bytes(token), logprob=logprob
        )

    def _end(
        self, completion: Completion, reason: str, *, score: float | None = None
    ) -> Iterator[GenerateResponse]:
        finished = inference_pb2.Finished(
            index=completion.index, generated_tokens=completion.num_tokens, score=score
        )
        if completion.stop is not None:
            finished.reason = inference_pb2.FINISH_REASON_STOP_STRING
            finished.stop = completion.stop
        else:
            held = completion.text.finish()
            token = completion.last_token
            stopper = token if token in self._plan.stop_tokens else None
            if stopper is not None and self._plan.include_stop:
                held += self._tokenizer.special_text(stopper)
            if held:
                yield GenerateResponse(chunk=Chunk(index=completion.index, text=held))
            finished.reason = REASONS[reason]
            if stopper is not None:
                finished.stop_token_id = stopper
        yield GenerateResponse(finished=finished)
        if completion.index == 0:
            self.outcome.reason = _name(finished)

    def _usage(self) -> inference_pb2.Usage:
        """The request's figures: those of the first completion, which computed the prompt."""
        ended = [c.finished for c in self._completions.values() if c.finished is not None]
        first = ended[0]
        self.outcome.usage = inference_pb2.Usage(
            prompt_tokens=first.prompt_tokens,
            cached_tokens=first.cached_tokens,
            generated_tokens=self.outcome.generated_tokens,
            queue_ms=first.queue_s * 1000,
            load_ms=first.load_s * 1000,
            prefill_ms=first.prefill_s * 1000,
            decode_ms=max(last.decode_s for last in ended) * 1000,
            tier=TIERS.get(first.tier, types_pb2.TIER_UNSPECIFIED),
        )
        return self.outcome.usage


def _name(finished: inference_pb2.Finished) -> str:
    return inference_pb2.FinishReason.Name(finished.reason).removeprefix("FINISH_REASON_")
