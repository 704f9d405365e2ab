"""How many tokens a step should have, and how long prompts take beside what runs."""

from collections.abc import Collection

from .limits import Limits
from .sequence import Sequence
from .step_time import StepTime

FADE = 0.95  # of the share of prompts that has to be computed, by prompt
LEARNED_STEPS = 32  # before a prediction refuses anybody


class Pace:
    """Budgets by the step-time fit, and predictions from it."""

    def __init__(self, limits: Limits, step_time: StepTime, *, block_tokens: int) -> None:
        self._limits = limits
        self._step_time = step_time
        self._block_tokens = block_tokens
        self._computed_share = 1.0

    def budget(self, running: Collection[Sequence]) -> int:
        """Most tokens of the next step; decodes are never cut, and a prompt always goes on."""
        limits = self._limits
        if limits.target_step_s is None:
            return limits.max_batch_tokens
        found = self._step_time.tokens_within(limits.target_step_s, kv_tokens=_kv_tokens(running))
        least = max(limits.min_batch_tokens, _num_decodes(running) + self._block_tokens)
        return min(max(found, least), limits.max_batch_tokens)

    def admitted(self, *, num_tokens: int, num_cached: int) -> None:
        """Learn how much of a prompt had to be computed."""
        share = 1 - num_cached / num_tokens
        self._computed_share = FADE * self._computed_share + (1 - FADE) * share

    def least_wait_s(self, *, ahead: int, own: int, running: Collection[Sequence]) -> float:
        """Predict the time to a first token if only prompts are in the way; 0 while all is new.

        Args:
            ahead: Tokens of prompts that go first, some of which will be found in the cache.
            own: Tokens that must be computed.
            running: Sequences whose decodes share the steps.
        """
        if self._step_time.num_observed < LEARNED_STEPS:
            return 0.0
        num_tokens = int(ahead * self._computed_share) + own
        num_decodes, kv_tokens = _num_decodes(running), _kv_tokens(running)
        chunk = max(self._block_tokens, self.budget(running) - num_decodes)
        whole, rest = divmod(num_tokens, chunk)
        seconds = whole * self._step_time.predict_s(num_decodes + chunk, kv_tokens + chunk)
        if rest:
            seconds += self._step_time.predict_s(num_decodes + rest, kv_tokens + rest)
        return seconds


def _num_decodes(running: Collection[Sequence]) -> int:
    return sum(sequence.num_rows for sequence in running if sequence.num_uncomputed <= 1)


def _kv_tokens(running: Collection[Sequence]) -> int:
    return sum(sequence.num_computed * sequence.num_rows for sequence in running)
