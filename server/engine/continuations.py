"""The best continuations of beams, found on the device.

The order is that of `generate` in transformers: biases and penalties change log-probabilities, and
not logits.
"""

from collections.abc import Sequence as Many
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from .adjust import adjust
from .beams import Candidate
from .plan import Plan
from .row import row_of
from .sequence import Sequence
from .transfer import to_device


def part_logits(logits_BV: Tensor, plan: Plan) -> tuple[Tensor, Tensor]:
    """The logits that are drawn from, and those of beams."""
    parts: tuple[list[int], list[int]] = ([], [])
    at = 0
    for chunk in plan.chunks:
        if chunk.wants_logits:
            num = 1 + len(chunk.drafts)
            parts[not chunk.draws].extend(range(at, at + num))
            at += num
    drawn, beams = (to_device(np.array(part, np.int64), logits_BV.device) for part in parts)
    return logits_BV.index_select(0, drawn), logits_BV.index_select(0, beams)


@torch.inference_mode()
def best_continuations(logits_RV: Tensor, sequences: Many[Sequence]) -> list[list[Candidate]]:
    """Answer, for each sequence, as many candidates as its search asks for, the best first.

    Args:
        logits_RV: Of their rows, one sequence after another.
    """
    rows = [row for sequence in sequences for row in sequence.rows]
    searches = [sequence.group.search for sequence in sequences if sequence.group is not None]
    scores_RV = logits_RV.log_softmax(dim=-1)
    adjust(scores_RV, [row_of(row, row.num_generated) for row in rows])
    sums = [score for search in searches for score in search.scores]
    scores_RV += torch.tensor(sums, device=logits_RV.device)[:, None]
    parts = torch.split(scores_RV, [len(sequence.rows) for sequence in sequences])
    best = [
        part.flatten().topk(search.num_candidates)
        for part, search in zip(parts, searches, strict=True)
    ]
    values = torch.cat([top.values for top in best]).tolist()
    places = torch.cat([top.indices for top in best]).tolist()
    vocab_size = logits_RV.shape[-1]
    found = (
        Candidate(place // vocab_size, place % vocab_size, value)
        for place, value in zip(places, values, strict=True)
    )
    return [list(islice(found, search.num_candidates)) for search in searches]
