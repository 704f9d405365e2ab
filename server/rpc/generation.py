"""One Generate call: from a checked request and a resolved target to the messages of its stream."""

import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field

from weft.protos.v1 import inference_pb2, types_pb2
from weft.protos.v1.inference_pb2 import Chunk, GenerateResponse
from weft.server.channel import Finished, Submit, TokenLogprobs
from weft.server.errors import FieldViolation, PromptTooLong

from .detokenizer import Detokenizer
from .engine_link import EngineLink, Token
from .prompts import Tokenizer
from .requests import Plan

REASONS = {
    "stop": inference_pb2.FINISH_REASON_STOP,
    "length": inference_pb2.FINISH_REASON_LENGTH,
}
TIERS = {
    "arena": types_pb2.TIER_GPU,
    "host": types_pb2.TIER_HOST,
    "disk": types_pb2.TIER_DISK,
    "store": types_pb2.TIER_STORE,
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


class Generation:
    """Turns the engine's tokens into chunks of text until the sequence ends."""

    def __init__(self, plan: Plan, tokenizer: Tokenizer) -> None:
        self._plan = plan
        self._tokenizer = tokenizer
        self._text = Detokenizer(
            tokenizer.hf.backend_tokenizer, stop=plan.stop, include_stop=plan.include_stop
        )
        self._stream: int | None = None
        self._stop: str | None = None
        self._last_token: int | None = None
        self._began = time.monotonic()
        self.outcome = Outcome()

    def elapsed_s(self) -> float:
        return time.monotonic() - self._began

    async def run(
        self, link: EngineLink, make: Callable[[int], Submit]
    ) -> AsyncGenerator[GenerateResponse, None]:
        """Yield chunks, then `finished`, then `usage`.

        Args:
            make: The message for the engine, given the number of the stream.
        """

        def submit(number: int) -> Submit:
            self._stream = number
            return make(number)

        batches = link.stream(submit, flush_s=self._plan.flush_s)
        async with aclosing(batches):
            async for batch in batches:
                tokens = [event for event in batch if isinstance(event, Token)]
                if tokens and self._stop is None:
                    yield GenerateResponse(chunk=self._chunk(tokens))
                    if self._stop is not None:
                        assert self._stream is not None
                        link.abort(self._stream)  # answered by Finished with the figures
                if isinstance(batch[-1], Finished):
                    for response in self._end(batch[-1]):
                        yield response

    def _chunk(self, tokens: list[Token]) -> Chunk:
        """Text and tokens up to and including the one that completes a stop string, if one does."""
        chunk = Chunk(index=0)
        for token, logprobs in tokens:
            chunk.token_ids.append(token)
            if logprobs is not None:
                chunk.logprobs.append(self._logprobs(token, logprobs))
            self._last_token = token
            if token in self._plan.stop_tokens and not self._plan.include_stop:
                continue
            so_far = self.outcome.generated_tokens + len(chunk.token_ids)
            piece = self._text.push(token, may_stop=so_far > self._plan.min_tokens)
            chunk.text += piece.text
            if piece.stop is not None:
                self._stop = piece.stop
                break
        self.outcome.saw_tokens(len(chunk.token_ids), elapsed_s=self.elapsed_s())
        return chunk

    def _logprobs(self, token: int, found: TokenLogprobs) -> inference_pb2.TokenLogprobs:
        return inference_pb2.TokenLogprobs(
            chosen=self._logprob(token, found.logprob),
            alternatives=map(self._logprob, found.tokens, found.logprobs),
        )

    def _logprob(self, token: int, logprob: float) -> inference_pb2.TokenLogprob:
        return inference_pb2.TokenLogprob(
            token_id=token, token=self._tokenizer.token_bytes(token), logprob=logprob
        )

    def _end(self, last: Finished) -> Iterator[GenerateResponse]:
        finished = inference_pb2.Finished(index=0, generated_tokens=self.outcome.generated_tokens)
        if self._stop is not None:
            finished.reason = inference_pb2.FINISH_REASON_STOP_STRING
            finished.stop = self._stop
        else:
            held = self._text.finish()
            stopper = self._last_token if self._last_token in self._plan.stop_tokens else None
            if stopper is not None and self._plan.include_stop:
                held += self._tokenizer.special_text(stopper)
            if held:
                yield GenerateResponse(chunk=Chunk(index=0, text=held))
            finished.reason = REASONS[last.reason]
            if stopper is not None:
                finished.stop_token_id = stopper
        yield GenerateResponse(finished=finished)
        self.outcome.reason = inference_pb2.FinishReason.Name(finished.reason).removeprefix(
            "FINISH_REASON_"
        )
        self.outcome.usage = inference_pb2.Usage(
            prompt_tokens=last.prompt_tokens,
            cached_tokens=last.cached_tokens,
            generated_tokens=self.outcome.generated_tokens,
            queue_ms=last.queue_s * 1000,
            load_ms=last.load_s * 1000,
            prefill_ms=last.prefill_s * 1000,
            decode_ms=last.decode_s * 1000,
            tier=TIERS.get(last.tier, types_pb2.TIER_UNSPECIFIED),
        )
        yield GenerateResponse(usage=self.outcome.usage)
