"""What a step drew: checked, accounted for, and told to the fronts."""

import time

import numpy as np
from torch import Tensor

from weft.server.channel import PromptLogprobs, Tokens

from .logprobs import describe
from .lookup import Speculation
from .plan import Plan
from .sampler import Drawn
from .scheduler import Scheduler
from .sequence import Sequence, State
from .streams import Streams
from .transfer import to_device


class Delivery:
    """Takes every step's draws."""

    def __init__(self, scheduler: Scheduler, streams: Streams, speculation: Speculation) -> None:
        self._scheduler = scheduler
        self._streams = streams
        self._speculation = speculation

    def tell_prompts(self, plan: Plan, logits_RV: Tensor) -> Tensor:
        """Tell log-probabilities of prompts; answer the logits that are left to draw from."""
        if not any(chunk.told for chunk in plan.chunks):
            return logits_RV
        drawn: list[int] = []
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
            if chunk.draws:
                num = 1 + len(chunk.drafts)
                drawn += range(at, at + num)
                at += num
        return logits_RV.index_select(0, to_device(np.array(drawn, np.int64), logits_RV.device))

    def deliver(self, plan: Plan, drawn: Drawn) -> None:
        """Account for the step and tell every front its tokens, then its ends."""
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
            has_ended = chunk.sequence.state is State.FINISHED  # while the step was in flight
            if not has_ended and not all(drawn.finite[row] for row in rows):
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
