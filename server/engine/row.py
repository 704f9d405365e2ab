"""What one row of a step asks of the sampler."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from weft.server.channel import Sampling

from .plan import Chunk
from .sequence import Sequence


class Row(NamedTuple):
    """One row.

    Attributes:
        position: Of the token that is drawn, counted from the first one generated.
        logprobs: Alternatives to report; None for no logprobs at all.
        counts: How often each token was generated, 0 for one of the prompt alone; None where there
            is no penalty.
        barred: Tokens that may not be drawn.
        allowed: A bit for every token that its grammar lets come; None = any.
    """

    sampling: Sampling
    position: int
    logprobs: int | None
    counts: dict[int, int] | None = None
    barred: frozenset[int] = frozenset()
    allowed: npt.NDArray[np.uint32] | None = None


def rows_of(chunk: Chunk) -> list[Row]:
    """The rows of a chunk that draws: of its next token, and of the one after each draft."""
    row = row_of(chunk.sequence, chunk.position)
    more = range(1, 1 + len(chunk.drafts))
    return [row, *(row._replace(position=row.position + i) for i in more)]


def row_of(sequence: Sequence, position: int) -> Row:
    """The row of a sequence whose token at `position` is drawn; ends are barred before
    `min_tokens`."""
    request = sequence.request
    counts = sequence.count_tokens() if request.sampling.has_penalty else None
    early = position < request.min_tokens
    barred = request.stop_tokens if early else frozenset()
    constraint = sequence.constraint
    allowed = None if constraint is None else constraint.allowed(request.stop_tokens)
    return Row(request.sampling, position, request.logprobs, counts, barred, allowed)
