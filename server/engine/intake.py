"""What is refused at once: what can never run, what finds no place, what would be too late."""

import math
from collections.abc import Collection

from weft.server.channel import Submit
from weft.server.errors import DeadlineExceeded, QueueFull

from .limits import Limits
from .pace import Pace
from .sequence import Sequence
from .waiting import Waiting

RETRY_S = (1, 60)  # least and longest hint


class Intake:
    """Stands before the queue; a prediction that refuses errs on the side of letting in."""

    def __init__(self, limits: Limits, waiting: Waiting, pace: Pace) -> None:
        self._limits = limits
        self._waiting = waiting
        self._pace = pace

    def check_request(self, request: Submit, running: Collection[Sequence]) -> None:
        """Let a request pass that can run and for which there is a place in the queue.

        Raises:
            RequestInvalid: It has no tokens, or one outside the vocabulary.
            PromptTooLong: It could never fit.
            QueueFull: Too much waits already, of its tenant or in all.
        """
        waiting = self._waiting
        try:
            self._limits.check(request, waiting.queued, waiting.queued_of(request.salt))
        except QueueFull as error:
            wait_s = self._pace.least_wait_s(ahead=waiting.queued.tokens, own=0, running=running)
            retry_s = min(max(RETRY_S[0], math.ceil(wait_s)), RETRY_S[1])
            raise QueueFull(str(error), retry_s=retry_s) from None

    def check_deadline(
        self, sequence: Sequence, running: Collection[Sequence], *, num_cached: int, now: float
    ) -> None:
        """Let a sequence pass whose first token can be there in time.

        Args:
            num_cached: Leading tokens that are computed already.

        Raises:
            DeadlineExceeded: It is predicted to come later.
        """
        deadline = sequence.request.deadline
        if deadline is None:
            return
        own = len(sequence.tokens) - num_cached
        longest_s = self._pace.least_wait_s(
            ahead=self._waiting.queued.tokens, own=own, running=running
        )
        if not longest_s or now + longest_s <= deadline:
            return
        ahead = self._waiting.tokens_before(sequence)
        wait_s = self._pace.least_wait_s(ahead=ahead, own=own, running=running)
        if now + wait_s > deadline:
            predicted_ms, left_ms = round(1000 * wait_s), round(1000 * (deadline - now))
            raise DeadlineExceeded(
                f"the first token is predicted after {predicted_ms} ms, {left_ms} ms are left",
                during="queue",
                predicted_ms=predicted_ms,
            )
