"""What a step and the queue may hold, and what is refused before it is queued."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from weft.server.channel import Submit
from weft.server.errors import FieldViolation, PromptTooLong, QueueFull, RequestInvalid


class Queued(NamedTuple):
    """Sequences and their tokens; one with beams counts as so many."""

    sequences: int
    tokens: int

    def more(self, other: "Queued") -> "Queued":
        return Queued(self.sequences + other.sequences, self.tokens + other.tokens)

    def less(self, other: "Queued") -> "Queued":
        return Queued(self.sequences - other.sequences, self.tokens - other.tokens)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a step and the queue may hold.

    Attributes:
        min_batch_tokens: A step may always have so many tokens, whatever it should take.
        target_step_s: Time that a step should take; None = as long as it needs.
    """

    max_sequences: int
    max_batch_tokens: int
    max_context: int
    vocab_size: int
    min_batch_tokens: int = 1
    target_step_s: float | None = None
    max_waiting: int = 2048
    max_waiting_tokens: int = 8_388_608
    max_tenant_waiting: int = 1024
    max_tenant_waiting_tokens: int = 4_194_304

    def check(self, request: Submit, waiting: Queued, tenant_waiting: Queued) -> None:
        """Let a request pass that can be queued behind what waits in all and of its tenant.

        Raises:
            RequestInvalid: It has no tokens, or one outside the vocabulary.
            PromptTooLong: It could never fit.
            QueueFull: Too much waits already.
        """
        num = len(request.tokens)
        if (violation := self._violation_of(request.tokens)) is not None:
            raise RequestInvalid((violation,))
        if num + request.max_tokens > self.max_context:
            found = f"{num} prompt tokens and max_tokens {request.max_tokens}"
            violation = FieldViolation("prompt", f"{found} exceed max_context {self.max_context}")
            raise PromptTooLong((violation,), max_context=self.max_context)
        tenant_limit = Queued(self.max_tenant_waiting, self.max_tenant_waiting_tokens)
        own = Queued(request.num_rows, num)
        _check_queue(own, tenant_waiting, tenant_limit, whose="of this tenant")
        _check_queue(
            own, waiting, Queued(self.max_waiting, self.max_waiting_tokens), whose="in all"
        )

    def _violation_of(self, tokens: Sequence[int]) -> FieldViolation | None:
        if not tokens:
            return FieldViolation("prompt", "has 0 tokens, the least is 1")
        for token in (min(tokens), max(tokens)):
            if not 0 <= token < self.vocab_size:
                description = f"token {token} is outside the vocabulary of {self.vocab_size}"
                return FieldViolation("prompt", description)
        return None


def _check_queue(own: Queued, waiting: Queued, limit: Queued, *, whose: str) -> None:
    """Raise QueueFull unless a request fits behind what waits; one of any size may wait alone."""
    for wait, more, most, what in zip(waiting, own, limit, own._fields, strict=True):
        if waiting.sequences and wait + more > most:
            raise QueueFull(f"{wait} {what} {whose} wait, {more} more exceed {most}")
