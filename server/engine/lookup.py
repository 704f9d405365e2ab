"""Drafts without a model: what followed, earlier in a sequence, the tokens that it ends with.

A draft is computed beside the next token, under the sequence's own adapter, and every position is
drawn with its own noise; it counts as far as it equals what is drawn. So the tokens are those that
come without drafts, and a wrong one costs a row. Only the room in blocks that a sequence holds is
used, and a rejected token's key and value are overwritten before anybody reads them.

Source: prompt lookup decoding, Saxena 2023, https://github.com/apoorvumang/prompt-lookup-decoding.
"""

from collections.abc import Sequence as Many
from dataclasses import dataclass, field

from .plan import Chunk, Plan
from .sequence import Sequence
from .step_time import StepTime

NGRAMS = (3, 2)  # tokens at the end that are looked for, the longer first
FADE = 0.9
HOPE = 0.5  # share of drafts that are right, before any was tried
LEAST = 0.2  # below this a sequence is not drafted for, but now and then
RETRY_TOKENS = 64


@dataclass(slots=True)
class Past:
    """Where each n-gram of a sequence was last followed by something, and how drafts fared."""

    follows: dict[tuple[int, ...], int] = field(default_factory=dict)
    num_seen: int = 0
    share: float = HOPE
    rests_until: int = 0

    def draft(self, tokens: Many[int], num: int) -> tuple[int, ...]:
        """What followed the last tokens the time before, at most `num` of it."""
        self._follow(tokens)
        for size in NGRAMS:
            at = self.follows.get(tuple(tokens[-size:]))
            if at is not None:
                return tuple(tokens[at : at + num])
        return ()

    def learn(self, *, num_drafts: int, num_right: int, position: int) -> None:
        self.share = FADE * self.share + (1 - FADE) * num_right / num_drafts
        if self.share < LEAST:
            self.rests_until = position + RETRY_TOKENS
            self.share = LEAST

    def _follow(self, tokens: Many[int]) -> None:
        """Take up the n-grams that something follows; the last tokens are followed by nothing."""
        for end in range(max(self.num_seen, 1), len(tokens)):
            for size in NGRAMS:
                if end >= size:
                    self.follows[tuple(tokens[end - size : end])] = end
        self.num_seen = len(tokens)


class Speculation:
    """Adds drafts to steps of decodes, where the fit of step times says that they pay."""

    def __init__(self, num_drafts: int, step_time: StepTime, *, block_tokens: int) -> None:
        self._num_drafts = num_drafts
        self._step_time = step_time
        self._block_tokens = block_tokens
        self._pasts: dict[Sequence, Past] = {}

    def extend(self, plan: Plan) -> Plan:
        """The plan, with drafts in the chunks that get them."""
        if not self._num_drafts or not plan.chunks:
            return plan
        if any(not c.draws or c.stop - c.start > 1 for c in plan.chunks):
            return plan
        self._pasts = {c.sequence: self._pasts.get(c.sequence) or Past() for c in plan.chunks}
        extended = Plan(tuple(chunk._replace(drafts=self._draft(chunk)) for chunk in plan.chunks))
        return extended if self._pays(plan, extended) else plan

    def learn(self, chunk: Chunk, num_right: int) -> None:
        """A chunk's drafts were drawn; so many were right."""
        past = self._pasts[chunk.sequence]
        past.learn(num_drafts=len(chunk.drafts), num_right=num_right, position=chunk.stop)

    def _draft(self, chunk: Chunk) -> tuple[int, ...]:
        sequence, past = chunk.sequence, self._pasts[chunk.sequence]
        request = sequence.request
        if (
            sequence.constraint is not None
            or request.sampling.has_penalty
            or sequence.num_generated < request.min_tokens
            or chunk.stop < past.rests_until
        ):
            return ()
        held = len(sequence.blocks) * self._block_tokens - chunk.stop
        wanted = request.max_tokens - sequence.num_generated - 1
        room = min(self._num_drafts, held, wanted)
        return past.draft(sequence.tokens, room) if room > 0 else ()

    def _pays(self, plan: Plan, extended: Plan) -> bool:
        """Whether the tokens hoped for outweigh the longer step."""
        hoped = sum(
            sum(self._pasts[c.sequence].share ** i for i in range(1, len(c.drafts) + 1))
            for c in extended.chunks
        )
        if not hoped:
            return False
        short = self._step_time.predict_s(plan.num_tokens, plan.kv_tokens)
        long = self._step_time.predict_s(extended.num_tokens, extended.kv_tokens)
        return long * len(plan.chunks) <= short * (len(plan.chunks) + hoped)
