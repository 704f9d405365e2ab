"""One token per row: greedy, or drawn after temperature, top-k, top-p and min-p, in this order.
Biases and penalties come before either (`adjust.py`).

A draw is argmax(score + noise), the Gumbel-max form of sampling from softmax(score). Every row has
parameters of its own, and none depends on the others of the batch.

There are two forms, with the same tokens. On a CPU one looks at few tokens: those that can win, and
the likeliest. On a GPU one looks at all, for the host would have to wait to learn which are few.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from weft.kernels import noise
from weft.kernels.gumbel_max import gumbel_max
from weft.kernels.noise import TOKENS_PER_COUNTER, gumbel
from weft.server.channel import TokenLogprobs

from .adjust import adjust
from .edges import dense_nucleus_edge, kth_largest, nucleus_edge
from .logprobs import Logprobs
from .parameters import Parameters, send_parameters
from .row import Row
from .transfer import Fetched

NOISE_RANGE = 26.2  # largest less smallest noise: what lies further below the best cannot win


class Drawn(NamedTuple):
    """Per row its token, whether its logits were finite, and the log-probabilities it asked for."""

    tokens: list[int]
    finite: list[bool]
    logprobs: list[TokenLogprobs | None]


class Draws:
    """What was drawn, on the device, and on its way to the host.

    Attributes:
        token_B: int64, each within the vocabulary.
    """

    def __init__(self, token_B: Tensor, finite_B: Tensor, logprobs: Logprobs | None) -> None:
        self.token_B = token_B
        self._fetched = Fetched(torch.stack((token_B, finite_B.long())))
        self._logprobs = logprobs
        if logprobs is not None:
            logprobs.fetch(token_B)

    def read(self) -> Drawn:
        """Wait for the device, and answer."""
        [columns] = self._fetched.read()
        tokens, finite = columns.tolist()
        asked = {} if self._logprobs is None else self._logprobs.read()
        return Drawn(tokens, [bool(f) for f in finite], [asked.get(i) for i in range(len(tokens))])


def draw(logits_BV: Tensor, rows: Sequence[Row]) -> Draws:
    """Draw a token for every row; the lowest id wins a tie. The token of a row that is not finite,
    or that a grammar leaves nothing, means nothing. The logits are used up."""
    return draw_in_form(logits_BV, rows, dense=logits_BV.is_cuda)


@torch.inference_mode()
def draw_in_form(logits_BV: Tensor, rows: Sequence[Row], *, dense: bool) -> Draws:
    """Draw in the form that looks at all tokens, for which nobody waits, or at few."""
    asks = any(row.logprobs is not None for row in rows)
    logprobs = Logprobs(logits_BV, rows) if asks else None
    adjust(logits_BV, rows)
    best_B, token_B = logits_BV.max(dim=-1)
    asked = send_parameters(rows, vocab_size=logits_BV.shape[-1], device=logits_BV.device)
    if asked is not None:
        scores_BV = keep(logits_BV.index_select(0, asked.row), asked, dense=dense)
        choose = _draw_of_all if dense else _draw_of_few
        token_B.index_copy_(0, asked.row, choose(scores_BV, asked))
    return Draws(token_B, best_B.isfinite(), logprobs)


def keep(logits_BV: Tensor, asked: Parameters, *, dense: bool) -> Tensor:
    """Divide by the temperature and set what top-k, top-p or min-p leave out to -inf.

    Tokens that tie with the last one kept are kept.
    """
    scores_BV = logits_BV / asked.temperature_B1
    if asked.largest_k is not None:
        edge_B1 = kth_largest(scores_BV, asked.k_B1, largest_k=asked.largest_k)
        scores_BV = _at_least(scores_BV, edge_B1)
    if asked.has_p:
        edge_of = dense_nucleus_edge if dense else nucleus_edge
        scores_BV = _at_least(scores_BV, edge_of(scores_BV, asked.p_B1))
    if asked.has_min_p:
        best_B1 = scores_BV.amax(dim=-1, keepdim=True)
        scores_BV = _at_least(scores_BV, best_B1 + asked.min_p_B1.log())
    return scores_BV


def _at_least(scores_BV: Tensor, edge_B1: Tensor) -> Tensor:
    return scores_BV.masked_fill(scores_BV < edge_B1, -torch.inf)


def _draw_of_all(scores_BV: Tensor, asked: Parameters) -> Tensor:
    draw_max = gumbel_max if scores_BV.is_cuda else noise.gumbel_max
    return draw_max(scores_BV, asked.seed, asked.position)


def _draw_of_few(scores_BV: Tensor, asked: Parameters) -> Tensor:
    """Noise where a token can win; elsewhere zero, which changes nothing."""
    hopeful_BV = scores_BV >= scores_BV.amax(dim=-1, keepdim=True) - NOISE_RANGE
    padding = -scores_BV.shape[-1] % TOKENS_PER_COUNTER
    groups = pad(hopeful_BV, (0, padding)).view(len(scores_BV), -1, TOKENS_PER_COUNTER).any(dim=-1)
    row, group = groups.nonzero(as_tuple=True)
    noise_BV = scores_BV.new_zeros(*groups.shape, TOKENS_PER_COUNTER)
    noise_BV[row, group] = gumbel(asked.seed[row], asked.position[row], group)
    return (scores_BV + noise_BV.flatten(1)[:, : scores_BV.shape[-1]]).argmax(dim=-1)
