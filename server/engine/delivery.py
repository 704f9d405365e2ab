"""What a step drew: checked, accounted for, and told to the fronts."""

import time
from collections.abc import Sequence as Many
from math import isfinite

import numpy as np
from torch import Tensor

from weft.server.channel import Hypotheses, PromptLogprobs, Tokens

from .beams import Candidate
from .logprobs import describe
from .lookup import Speculation
from .plan import Ended, Plan
from .sampler import Drawn
from .scheduler import Scheduler
from .sequence import Sequence
from .streams import Streams
from .transfer import to_device


class Delivery:
    """Takes every step's draws."""

    def __init__(self, scheduler: Scheduler, streams: Streams, speculation: Speculation) -> None:
        self._scheduler = scheduler
        self._streams = streams
        self._speculation = speculation

    def tell_prompts(self, plan: Plan, logits_RV: Tensor) -> Tensor:
        """Tell log-probabilities of prompts; answer the logits that are left, of next tokens."""
        if not any(chunk.told for chunk in plan.chunks):
            return logits_RV
        left: list[int] = []
        at = 0
        for chunk in plan.chunks:
            sequence, told = chunk.sequence, chunk.told
            if told:
                tokens = sequence.tokens[told.start + 1 : told.stop + 1]
                num = sequence.request.prompt_logprobs
                assert num is not None
                entries = describe(logits_RV[at : at + len(told)], tokens, num=num)
                self._streams.tell(sequence.peer, PromptLogprobs(sequence.request.stream, entries))
                sequence.num_told = told.stop
            at += len(told)
            if chunk.wants_logits:
                num = 1 + len(chunk.drafts)
                left += range(at, at + num)
                at += num
        return logits_RV.index_select(0, to_device(np.array(left, np.int64), logits_RV.device))

    def deliver(self, plan: Plan, drawn: Drawn, continued: Many[list[Candidate]] = ()) -> None:
        """Account for the step and tell every front its tokens, then its ends.

        Args:
            continued: The best continuations of each of the plan's searches.
        """
        searching = plan.searching
        due = [chunk.sequence for chunk in plan.chunks if chunk.draws]
        kept = self._settle(plan, drawn)
        before = [sequence.num_generated for sequence in due]
        now = time.monotonic()
        tokens = [[drawn.tokens[row] for row in rows] for rows in kept]
        ended = self._scheduler.advance(plan, tokens, now=now)
        by_peer: dict[bytes, list[tuple[int, int]]] = {}
        for sequence, rows, num_before in zip(due, kept, before, strict=True):
            for row in rows[: sequence.num_generated - num_before]:
                by_peer.setdefault(sequence.peer, []).append((sequence.request.stream, row))
        for peer, told in by_peer.items():
            logprobs = [drawn.logprobs[row] for _, row in told]
            self._streams.tell(
                peer,
                Tokens(
                    streams=[stream for stream, _ in told],
                    tokens=[drawn.tokens[row] for _, row in told],
                    logprobs=logprobs if any(logprobs) else [],
                ),
            )
        for end in ended:
            self._streams.end(end, now)
        for sequence, candidates in zip(searching, continued, strict=True):
            self._search(sequence, candidates, now)

    def _search(self, sequence: Sequence, candidates: list[Candidate], now: float) -> None:
        """Let the beams of a sequence go on; tell what they have found at the end."""
        if not all(isfinite(candidate.score) for candidate in candidates):
            self._fail_draw(sequence)
            return
        found = self._scheduler.search(sequence, candidates, now=now)
        if found:
            self._streams.tell(sequence.peer, Hypotheses(sequence.request.stream, found))
            self._streams.end(Ended(sequence, found[0].reason), now)

    def _settle(self, plan: Plan, drawn: Drawn) -> list[range]:
        """The rows of every chunk that draws up to the first that its drafts miss; those that are
        not finite fail their sequence."""
        kept, at = [], 0
        for chunk in plan.chunks:
            if not chunk.draws:
                continue
            num_right = 0
            while chunk.drafts[num_right : num_right + 1] == (drawn.tokens[at + num_right],):
                num_right += 1
            rows = range(at, at + 1 + num_right)
            if chunk.is_current and not all(drawn.finite[row] for row in rows):
                self._fail_draw(chunk.sequence)
            elif chunk.drafts:
                self._speculation.learn(chunk, num_right)
            kept.append(rows)
            at += 1 + len(chunk.drafts)
        return kept

    def _fail_draw(self, sequence: Sequence) -> None:
        if sequence.constraint is None:
            self._streams.fail(sequence, "STEP_FAILED", "the logits are not finite")
            return
        found = f"the constraint leaves no token after {sequence.num_generated}"
        self._streams.fail(sequence, "REQUEST_INVALID", found, field="constraint")
