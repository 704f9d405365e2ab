"""Beam search: which hypotheses live on after a step, and which are complete. Plain data.

A step offers the best continuations of all live hypotheses. Those among the best `num` that end are
complete, and compete for `num` places; the best `num` that do not end live on.

Source: `_beam_search` of transformers 5.23, whose choices and scores these are.
"""

from collections.abc import Sequence
from math import pow
from typing import NamedTuple

from weft.server.channel import Beams, EarlyStopping, Hypothesis, Submit
from weft.server.errors import FieldViolation, RequestInvalid

from .limits import Limits


class Candidate(NamedTuple):
    """A live hypothesis, by its place, with one token more; `score` sums log-probabilities."""

    beam: int
    token: int
    score: float


class BeamSearch:
    """The scores of one search.

    Attributes:
        scores: Of the live hypotheses, the best first.
    """

    def __init__(self, request: Submit) -> None:
        assert request.beams is not None
        self.scores = [0.0]
        self._asked = request.beams
        self._ends = request.stop_tokens
        self._num_prompt = len(request.tokens)
        self._max_tokens = request.max_tokens
        self._complete: list[Hypothesis] = []

    @property
    def num_candidates(self) -> int:
        """Continuations to offer: so many that `num` of them do not end."""
        return num_candidates(self._asked, self._ends)

    @property
    def best(self) -> list[Hypothesis]:
        """The complete hypotheses to tell, the best first."""
        return self._complete[: self._asked.num_best]

    def advance(
        self, candidates: Sequence[Candidate], tokens: Sequence[list[int]]
    ) -> list[Candidate]:
        """Answer the candidates that live on, the best first; none if the search is over.

        Args:
            candidates: `num_candidates` of them, the best first.
            tokens: Of each live hypothesis, with its prompt.
        """
        num = self._asked.num
        length = len(tokens[0]) + 1 - self._num_prompt
        is_last = length == self._max_tokens
        for candidate in candidates[:num]:
            if is_last or candidate.token in self._ends:
                self._add(candidate, tokens[candidate.beam], length)
        living = [c for c in candidates if not is_last and c.token not in self._ends][:num]
        if not living or self._is_over(living[0].score, length):
            return []
        self.scores = [candidate.score for candidate in living]
        return living

    def _add(self, candidate: Candidate, tokens: list[int], length: int) -> None:
        """Give a complete hypothesis a place, if it deserves one."""
        found = Hypothesis(
            tokens=[*tokens[self._num_prompt :], candidate.token],
            score=candidate.score / pow(length, self._asked.length_penalty),
            reason="stop" if candidate.token in self._ends else "length",
        )
        places = sorted([*self._complete, found], key=lambda h: h.score, reverse=True)
        self._complete = places[: self._asked.num]

    def _is_over(self, best: float, length: int) -> bool:
        """Whether the live hypotheses are given up; `best` is the score of the best of them."""
        asked = self._asked
        if len(self._complete) < asked.num:
            return False
        if asked.early_stopping is EarlyStopping.FIRST:
            return True
        if asked.early_stopping is EarlyStopping.NEVER and asked.length_penalty > 0:
            length = self._max_tokens
        return best / pow(length, asked.length_penalty) <= self._complete[-1].score


def num_candidates(asked: Beams, ends: frozenset[int]) -> int:
    return max(2, 1 + len(ends)) * asked.num


def check_beams(request: Submit, limits: Limits, *, num_blocks: int, block_tokens: int) -> None:
    """Let a search pass that fits alone; the others raise RequestInvalid."""
    asked = request.beams
    assert asked is not None
    longest = -(-(len(request.tokens) + request.max_tokens - 1) // block_tokens)
    shared = len(request.tokens) // block_tokens
    candidates = num_candidates(asked, request.stop_tokens)
    for wanted, what, limit in (
        (asked.num, "rows of a step", limits.max_sequences),
        (asked.num, "tokens of a step", limits.max_batch_tokens),
        (candidates + len(request.stop_tokens), "tokens to choose from", limits.vocab_size),
        (shared + asked.num * (longest - shared), "KV blocks at max_tokens", num_blocks),
    ):
        if wanted > limit:
            found = f"{asked.num} beams may need {wanted} {what}, this server has {limit}"
            raise RequestInvalid((FieldViolation("num_beams", found),), field="num_beams")
