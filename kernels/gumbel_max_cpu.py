"""gumbel_max on a CPU: noise only where it may decide, in loops that numba compiles.

With x = 1 - u the noise -log(-log(u)) is below -log(x). So a token beats a limit only where x is
below exp(score - limit): one product tells nearly every token off, without a logarithm.
"""

import math
from functools import cache
from typing import Any

import numpy as np
import torch
from numba import carray, njit
from torch import Tensor

from .gumbel_max import check_draw
from .noise import TOKENS_PER_COUNTER
from .threads import compile_loop, num_threads, pointer, run_loop, share, thread_num

TILE = 4096  # tokens of a row that a thread looks at in one go
BLOCK = 256  # tokens whose words are made at once
GRAIN = 16384  # tokens: fewer are not worth a second thread
MARGIN = (2e-3, 1e-6)  # for what float32 rounds: absolute, and relative to the best so far
UNIT = np.float32(2.0**-32)
LEAST = np.float32(2.0**-34)  # half of the smallest x

LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)
FACTOR_0, FACTOR_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
WEYL_0, WEYL_1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)

NAMES = ("scores", "weights", "top", "heaviest", "seed", "position", "best", "token", "B", "V", "X")
FRAME = np.dtype([(name, np.int64) for name in NAMES])


def gumbel_max_cpu(scores_BV: Tensor, seed_B: Tensor, position_B: Tensor) -> Tensor:
    """Draw a token of every row from softmax(scores_BV): the largest of score and noise.

    Semantics, and what it raises: those of `kernels.gumbel_max.gumbel_max`.
    """
    check_draw(scores_BV, seed_B, position_B)
    num_rows, vocab_size = scores_BV.shape
    num_tiles = -(-vocab_size // TILE)
    weights_BV = scores_BV.softmax(dim=-1)
    top_B, heaviest_B = scores_BV.amax(dim=-1), weights_BV.amax(dim=-1)
    best_BX = scores_BV.new_empty(num_rows, num_tiles)
    token_BX = torch.empty_like(best_BX, dtype=torch.int64)
    columns = (top_B, heaviest_B, seed_B.contiguous(), position_B.contiguous(), best_BX, token_BX)
    run_loop(
        compile_draw(),
        *(tensor.data_ptr() for tensor in (scores_BV, weights_BV, *columns)),
        num_rows,
        vocab_size,
        num_tiles,
        alone=scores_BV.numel() < GRAIN,
    )
    return token_BX.gather(1, best_BX.argmax(dim=-1, keepdim=True))[:, 0]


@cache
def compile_draw() -> Any:
    """Compile the loop: seconds, once in a process."""

    def loop(arguments):
        f = carray(arguments, 1, FRAME)[0]
        scores = carray(pointer(f.scores), (f.B, f.V), np.float32)
        weights = carray(pointer(f.weights), (f.B, f.V), np.float32)
        top = carray(pointer(f.top), f.B, np.float32)
        heaviest = carray(pointer(f.heaviest), f.B, np.float32)
        seed = carray(pointer(f.seed), f.B, np.uint64)
        position = carray(pointer(f.position), f.B, np.uint64)
        best = carray(pointer(f.best), f.B * f.X, np.float32)
        token = carray(pointer(f.token), f.B * f.X, np.int64)
        words = np.empty((BLOCK // TOKENS_PER_COUNTER, TOKENS_PER_COUNTER), np.uint32)
        begin, end = share(thread_num(), num_threads(), f.B * f.X)
        for at in range(begin, end):
            row, first = at // f.X, at % f.X * TILE
            last = min(f.V, first + TILE)
            best[at], token[at] = np.float32(-np.inf), first
            for start in range(first, last, BLOCK):
                stop = min(start + BLOCK, last)
                factor = _factor(top[row], heaviest[row], best[at])
                if _are_light(weights[row], start, stop, factor):
                    continue
                _philox(start // TOKENS_PER_COUNTER, position[row], seed[row], words)
                best[at], token[at] = _best(
                    scores[row], weights[row], top[row], heaviest[row],
                    start, stop, words, best[at], token[at],
                )  # fmt: skip

    return compile_loop(loop)


@njit
def _are_light(weights, start, stop, factor):
    """Whether none of these tokens can win, whatever its word."""
    heavy = np.float32(0)
    for at in range(start, stop):
        heavy = max(heavy, weights[at])
    return heavy == 0 or heavy * factor < LEAST


@njit
def _best(scores, weights, top, heaviest, start, stop, words, best, token):
    """The better of the best so far, and of what tokens get with the noise of these words."""
    factor = _factor(top, heaviest, best)
    flat = words.reshape(BLOCK)
    for at in range(start, stop):
        word = flat[at - start]
        left = np.float32(np.uint32(0xFFFFFFFF) - word) + np.float32(0.5)
        if left * UNIT <= weights[at] * factor:
            uniform = (np.float64(word) + 0.5) * 2.0**-32
            value = scores[at] + np.float32(-math.log(-math.log(uniform)))
            if value > best:
                best, token = value, at
                factor = _factor(top, heaviest, best)
    return best, token


@njit
def _factor(top, heaviest, best):
    """What turns weights, the heaviest of which is the top score's, into those beside the best."""
    least = np.float64(best) - MARGIN[0] - MARGIN[1] * abs(np.float64(best))
    return np.float32(math.exp(np.float64(top) - least) / heaviest)


@njit
def _philox(first, position, seed, words):
    """The ten rounds of `noise.philox` on counters that follow one another."""
    low, high = seed & LOW, seed >> HALF
    for i in range(len(words)):
        c0, c1, c2, c3 = np.uint64(first + i), position, np.uint64(0), np.uint64(0)
        k0, k1 = low, high
        for _ in range(10):
            p0, p1 = c0 * FACTOR_0, c2 * FACTOR_1
            c0, c2 = (p1 >> HALF) ^ c1 ^ k0, (p0 >> HALF) ^ c3 ^ k1
            c1, c3 = p1 & LOW, p0 & LOW
            k0, k1 = (k0 + WEYL_0) & LOW, (k1 + WEYL_1) & LOW
        words[i, 0] = np.uint32(c0)
        words[i, 1] = np.uint32(c1)
        words[i, 2] = np.uint32(c2)
        words[i, 3] = np.uint32(c3)
