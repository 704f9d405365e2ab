"""Where top-k and top-p cut a row of scores, without sorting it.

Weights are integers: their sums depend neither on an order nor on the batch.
"""

import torch
from torch import Tensor

MASS = 2**40  # the weight of probability 1
DIGIT_BITS = (11, 11, 10)  # of a score's 32 bits, the highest first
_LOW_31 = 2**31 - 1


def kth_largest(scores_BV: Tensor, k_B1: Tensor, *, largest_k: int) -> Tensor:
    """The k-th largest score of each row, `[B, 1]`; -inf where k is the whole vocabulary.

    Args:
        largest_k: Of the rows where it is less.
    """
    best = scores_BV.topk(largest_k).values
    edge_B1 = best.gather(1, k_B1.clamp(max=largest_k) - 1)
    return edge_B1.masked_fill(k_B1 >= scores_BV.shape[-1], -torch.inf)


def nucleus_edge(scores_BV: Tensor, p_B1: Tensor) -> Tensor:
    """The lowest score whose betters hold less than p of the probability; -inf where p is 1."""
    probability_BV = scores_BV.softmax(dim=-1)
    bound_B1 = mass_of(p_B1).clamp(min=1)
    if scores_BV.is_cuda:
        edge_B1 = edge_of(scores_BV, mass_of(probability_BV), bound_B1)
    else:
        from .edges_cpu import edge_of_cpu  # here, for numba need not be there beside a GPU

        edge_B1 = edge_of_cpu(scores_BV, probability_BV, bound_B1)
    return edge_B1.masked_fill(p_B1 >= 1, -torch.inf)


def edge_of(scores_BV: Tensor, weight_BV: Tensor, bound_B1: Tensor) -> Tensor:
    """Find the lowest score whose betters weigh less than the bound: one histogram per digit.

    Args:
        scores_BV: float32.
        weight_BV: int64, not negative.
        bound_B1: int64, at least 1.

    Returns:
        float32, `[B, 1]`; -inf where all together weigh less than the bound.
    """
    key_BV = _ordered(scores_BV)
    total_B1 = weight_BV.sum(dim=-1, keepdim=True)
    edge_B1, left_B1, shift = torch.zeros_like(bound_B1), bound_B1, 32
    for bits in DIGIT_BITS:
        shift -= bits
        digit_BV = (key_BV >> shift) & (2**bits - 1)
        histogram = weight_BV.new_zeros(len(key_BV), 2**bits).scatter_add_(1, digit_BV, weight_BV)
        above = histogram.flip(-1).cumsum(dim=-1).flip(-1) - histogram
        digit_B1 = (above >= left_B1).sum(dim=-1, keepdim=True).clamp(max=2**bits - 1)
        edge_B1 = edge_B1 | digit_B1 << shift
        left_B1 = left_B1 - above.gather(1, digit_B1)
        weight_BV = weight_BV.masked_fill(digit_BV != digit_B1, 0)
    return _scores(edge_B1).masked_fill(bound_B1 > total_B1, -torch.inf)


def mass_of(probability: Tensor) -> Tensor:
    """Weights of probabilities: int64, `MASS` for 1."""
    return (probability.double() * MASS).long()


def _ordered(scores: Tensor) -> Tensor:
    """Map float32 to int64 in [0, 2^32), in the order of the numbers; both zeros are one."""
    bits = (scores + 0.0).view(torch.int32)
    return (bits ^ ((bits >> 31) & _LOW_31)).long() + 2**31


def _scores(keys: Tensor) -> Tensor:
    """Undo `_ordered`."""
    bits = (keys - 2**31).int()
    return (bits ^ ((bits >> 31) & _LOW_31)).view(torch.float32)
