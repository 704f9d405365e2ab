"""One token per row: greedy, or drawn after temperature, top-k, top-p and min-p, in this order.
Biases and penalties come before either (`adjust.py`).

A draw is argmax(score + noise), the Gumbel-max form of sampling from softmax(score). Every row has
parameters of its own, and none depends on the others of the batch.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from weft.server.channel import Sampling, TokenLogprobs

from .adjust import adjust
from .edges import kth_largest, nucleus_edge
from .noise import TOKENS_PER_COUNTER, gumbel
from .row import Row

NOISE_RANGE = 26.2  # largest less smallest noise: what lies further below the best cannot win


class Drawn(NamedTuple):
    """Per row its token, whether its logits were finite, and the log-probabilities it asked for."""

    tokens: list[int]
    finite: list[bool]
    logprobs: list[TokenLogprobs | None]


@torch.inference_mode()
def draw(logits_BV: Tensor, rows: Sequence[Row]) -> Drawn:
    """Draw a token for every row; the lowest id wins a tie. The token of a row that is not finite,
    or that a grammar leaves nothing, means nothing. The logits are used up."""
    raw = _raw_logprobs(logits_BV, rows)
    adjust(logits_BV, rows)
    best_B, token_B = logits_BV.max(dim=-1)
    drawing = [i for i, row in enumerate(rows) if row.sampling.temperature > 0]
    if drawing:
        index = torch.tensor(drawing, device=logits_BV.device)
        token_B[index] = _draw_random(logits_BV[index], [rows[i] for i in drawing])
    return Drawn(token_B.tolist(), best_B.isfinite().tolist(), _logprobs(raw, token_B, rows))


@torch.inference_mode()
def describe(logits_RV: Tensor, tokens: Sequence[int], *, num: int) -> list[TokenLogprobs]:
    """Log-probabilities of given tokens, each with its `num` alternatives."""
    rows = [Row(Sampling(), 0, num)] * len(tokens)
    chosen = torch.tensor(tokens, device=logits_RV.device)
    found = _logprobs(_raw_logprobs(logits_RV, rows), chosen, rows)
    return [entry for entry in found if entry is not None]


def _draw_random(logits_BV: Tensor, rows: Sequence[Row]) -> Tensor:
    scores_BV = keep(logits_BV, [row.sampling for row in rows])
    return (scores_BV + _noise(scores_BV, rows)).argmax(dim=-1)


def keep(logits_BV: Tensor, samplings: Sequence[Sampling]) -> Tensor:
    """Divide by the temperature and set what top-k, top-p or min-p leave out to -inf.

    Tokens that tie with the last one kept are kept.
    """
    scores_BV = logits_BV / _column([s.temperature for s in samplings], logits_BV)
    vocab_size = logits_BV.shape[-1]
    k_B = [min(s.top_k or vocab_size, vocab_size) for s in samplings]
    if min(k_B) < vocab_size:
        largest_k = max(k for k in k_B if k < vocab_size)
        k_B1 = torch.tensor(k_B, device=scores_BV.device)[:, None]
        scores_BV = _at_least(scores_BV, kth_largest(scores_BV, k_B1, largest_k=largest_k))
    if any(s.top_p < 1 for s in samplings):
        p_B1 = _column([s.top_p for s in samplings], scores_BV)
        scores_BV = _at_least(scores_BV, nucleus_edge(scores_BV, p_B1))
    if any(s.min_p > 0 for s in samplings):
        ratio = _column([s.min_p for s in samplings], scores_BV).log()
        scores_BV = _at_least(scores_BV, scores_BV.amax(dim=-1, keepdim=True) + ratio)
    return scores_BV


def _at_least(scores_BV: Tensor, edge_B1: Tensor) -> Tensor:
    return scores_BV.masked_fill(scores_BV < edge_B1, -torch.inf)


def _noise(scores_BV: Tensor, rows: Sequence[Row]) -> Tensor:
    """Noise where a token can win; elsewhere zero, which changes nothing."""
    hopeful_BV = scores_BV >= scores_BV.amax(dim=-1, keepdim=True) - NOISE_RANGE
    padding = -scores_BV.shape[-1] % TOKENS_PER_COUNTER
    groups = pad(hopeful_BV, (0, padding)).view(len(rows), -1, TOKENS_PER_COUNTER).any(dim=-1)
    row, group = groups.nonzero(as_tuple=True)
    seeds = torch.tensor([_signed(r.sampling.seed) for r in rows], device=scores_BV.device)
    positions = torch.tensor([r.position for r in rows], device=scores_BV.device)
    noise = scores_BV.new_zeros(*groups.shape, TOKENS_PER_COUNTER)
    noise[row, group] = gumbel(seeds[row], positions[row], group)
    return noise.flatten(1)[:, : scores_BV.shape[-1]]


def _signed(seed: int) -> int:
    """The same 64 bits as int64."""
    return ((seed + 2**63) & (2**64 - 1)) - 2**63


def _column(values: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None]


def _raw_logprobs(logits_BV: Tensor, rows: Sequence[Row]) -> Tensor | None:
    """The raw distribution of the rows that ask for log-probabilities, in order; None for none."""
    asking = [i for i, row in enumerate(rows) if row.logprobs is not None]
    if not asking:
        return None
    return logits_BV[torch.tensor(asking, device=logits_BV.device)].log_softmax(dim=-1)


def _logprobs(
    raw_AV: Tensor | None, token_B: Tensor, rows: Sequence[Row]
) -> list[TokenLogprobs | None]:
    """Log-probabilities of the rows that ask, from their raw distributions."""
    answer: list[TokenLogprobs | None] = [None] * len(rows)
    if raw_AV is None:
        return answer
    asking = {i: row.logprobs for i, row in enumerate(rows) if row.logprobs is not None}
    index = torch.tensor(list(asking), device=token_B.device)
    chosen = raw_AV.gather(1, token_B[index, None])[:, 0].tolist()
    top = raw_AV.topk(max(asking.values()))
    values, tokens = top.values.tolist(), top.indices.tolist()
    for n, (i, count) in enumerate(asking.items()):
        answer[i] = TokenLogprobs(chosen[n], tokens[n][:count], values[n][:count])
    return answer
