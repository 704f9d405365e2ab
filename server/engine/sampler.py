"""One token per row: greedy, or drawn after temperature, top-k, top-p and min-p, in this order.
Biases and penalties come before either (`adjust.py`).

A draw is argmax(score + noise), the Gumbel-max form of sampling from softmax(score). Every row has
parameters of its own, and none depends on the others of the batch.

On a GPU nothing waits for the device until the draws are read.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from weft.kernels.edges import kth_largest, nucleus_edge
from weft.kernels.gumbel_max import gumbel_max
from weft.server.channel import Sampling, TokenLogprobs

from .adjust import adjust
from .logprobs import Logprobs
from .parameters import Parameters, send_parameters
from .row import Row
from .transfer import Fetched


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


def prepare(*, vocab_size: int, device: torch.device) -> None:
    """Compile what draws run, so that no request waits for it."""
    logits_1V = torch.zeros(1, vocab_size, device=device)
    draw(logits_1V, [Row(Sampling(temperature=1.0, top_p=0.5), 0, None)]).read()


@torch.inference_mode()
def draw(logits_BV: Tensor, rows: Sequence[Row]) -> Draws:
    """Draw a token for every row; the lowest id wins a tie. The token of a row that is not finite,
    or that a grammar leaves nothing, means nothing. The logits are used up."""
    asks = any(row.logprobs is not None for row in rows)
    logprobs = Logprobs(logits_BV, rows) if asks else None
    adjust(logits_BV, rows)
    best_B, token_B = logits_BV.max(dim=-1)
    asked = send_parameters(rows, vocab_size=logits_BV.shape[-1], device=logits_BV.device)
    if asked is not None:
        scores_BV = keep(logits_BV.index_select(0, asked.row), asked)
        token_B.index_copy_(0, asked.row, _draw_random(scores_BV, asked))
    return Draws(token_B, best_B.isfinite(), logprobs)


def keep(logits_BV: Tensor, asked: Parameters) -> Tensor:
    """Divide by the temperature and set what top-k, top-p or min-p leave out to -inf.

    Tokens that tie with the last one kept are kept.
    """
    scores_BV = logits_BV / asked.temperature_B1
    if asked.largest_k is not None:
        edge_B1 = kth_largest(scores_BV, asked.k_B1, largest_k=asked.largest_k)
        scores_BV = _at_least(scores_BV, edge_B1)
    if asked.has_p:
        scores_BV = _at_least(scores_BV, nucleus_edge(scores_BV, asked.p_B1))
    if asked.has_min_p:
        best_B1 = scores_BV.amax(dim=-1, keepdim=True)
        scores_BV = _at_least(scores_BV, best_B1 + asked.min_p_B1.log())
    return scores_BV


def _at_least(scores_BV: Tensor, edge_B1: Tensor) -> Tensor:
    return scores_BV.masked_fill(scores_BV < edge_B1, -torch.inf)


def _draw_random(scores_BV: Tensor, asked: Parameters) -> Tensor:
    if scores_BV.is_cuda:
        return gumbel_max(scores_BV, asked.seed, asked.position)
    from weft.kernels.gumbel_max_cpu import gumbel_max_cpu  # here, for numba need not be there

    return gumbel_max_cpu(scores_BV, asked.seed, asked.position)
