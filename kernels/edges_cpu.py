"""Where top-p cuts a row of scores on a CPU: the histograms of `edge_of`, compiled by numba."""

from functools import cache
from typing import Any

import numpy as np
import torch
from numba import carray, njit
from torch import Tensor

from .edges import DIGIT_BITS, MASS
from .threads import compile_loop, num_threads, pointer, run_loop, share, thread_num

GRAIN = 16384  # tokens: fewer are not worth a second thread
SIGN, LOW_31 = np.int32(-(2**31)), np.int32(2**31 - 1)

NAMES = ("scores", "probability", "bound", "edge", "B", "V")
FRAME = np.dtype([(name, np.int64) for name in NAMES])


def edge_of_cpu(scores_BV: Tensor, probability_BV: Tensor, bound_B1: Tensor) -> Tensor:
    """Find the lowest score whose betters have less mass than the bound.

    Semantics: edge_of(scores_BV, mass_of(probability_BV), bound_B1), of `kernels.edges`.

    Args:
        scores_BV, probability_BV: Contiguous, float32.
        bound_B1: int64, at least 1.
    """
    assert scores_BV.dtype == probability_BV.dtype == torch.float32
    assert scores_BV.is_contiguous()
    assert probability_BV.is_contiguous()
    edge_B1 = scores_BV.new_empty(len(scores_BV), 1)
    tensors = (scores_BV, probability_BV, bound_B1.contiguous(), edge_B1)
    run_loop(
        compile_edges(),
        *(tensor.data_ptr() for tensor in tensors),
        *scores_BV.shape,
        alone=scores_BV.numel() < GRAIN,
    )
    return edge_B1


@cache
def compile_edges() -> Any:
    """Compile the loop: seconds, once in a process."""

    def loop(arguments):
        f = carray(arguments, 1, FRAME)[0]
        scores = carray(pointer(f.scores), (f.B, f.V), np.int32)
        probability = carray(pointer(f.probability), (f.B, f.V), np.float32)
        bound = carray(pointer(f.bound), f.B, np.int64)
        edge = carray(pointer(f.edge), f.B, np.int32)
        histogram = np.empty(2 ** DIGIT_BITS[0], np.int64)
        begin, end = share(thread_num(), num_threads(), f.B)
        for row in range(begin, end):
            edge[row] = _edge(scores[row], probability[row], bound[row], histogram)

    return compile_loop(loop)


@njit
def _edge(scores, probability, bound, histogram):
    """The bits of the edge's score: digit by digit, the highest first."""
    found, left, shift = np.int64(0), bound, 32
    for bits in DIGIT_BITS:
        shift -= bits
        above, digit = _digit(scores, probability, histogram, found, left, shift, bits)
        if above + histogram[digit] < left:
            return _bits_of(np.float32(-np.inf))
        found, left = found << bits | digit, left - above
    key = np.int32(found - 2**31)
    return key ^ ((key >> 31) & LOW_31)


@njit
def _digit(scores, probability, histogram, found, left, shift, bits):
    """The lowest digit above which there is less than `left`, and how much there is; among the
    scores that begin with what is found."""
    histogram[: 1 << bits] = 0
    for at in range(len(scores)):
        key = _ordered(scores[at])
        if key >> (shift + bits) == found:
            mass = np.int64(np.float64(probability[at]) * MASS)
            histogram[(key >> shift) & ((1 << bits) - 1)] += mass
    above, digit = np.int64(0), (1 << bits) - 1
    while digit > 0 and above + histogram[digit] < left:
        above += histogram[digit]
        digit -= 1
    return above, digit


@njit
def _ordered(bits):
    """A float's bits as a number of the same order, in [0, 2^32); both zeros are one."""
    if bits == SIGN:
        bits = np.int32(0)
    return np.int64(bits ^ ((bits >> 31) & LOW_31)) + 2**31


@njit
def _bits_of(score):
    one = np.empty(1, np.float32)
    one[0] = score
    return one.view(np.int32)[0]
