"""gumbel_max: a draw from each row's softmax, whose noise depends on nothing else in the batch."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .noise import TOKENS_PER_COUNTER

BLOCK_G = 256  # counters of a program, each the noise of four tokens
NUM_WARPS = 4


def gumbel_max(scores_BV: Tensor, seed_B: Tensor, position_B: Tensor) -> Tensor:
    """Draw a token of every row from softmax(scores_BV): the largest of score and noise.

    Semantics, for row b and token t:
        token_B[b] = argmax over t of scores_BV[b, t] + gumbel(seed_B[b], position_B[b], t)
    the lowest of equals. A row with a NaN gets some token; one that is -inf throughout, token 0.

    Args:
        scores_BV: Contiguous, float32.
        seed_B: int64; all 64 bits count.
        position_B: int64, output positions.

    Returns:
        int64, `[B]`.

    Raises:
        ValueError: Dtypes or lengths disagree, or the scores are not contiguous.

    Source: the noise is Philox4x32-10's, Salmon et al. 2011.
    """
    check_draw(scores_BV, seed_B, position_B)
    num_rows, vocab_size = scores_BV.shape
    num_tiles = triton.cdiv(vocab_size, BLOCK_G * TOKENS_PER_COUNTER)
    best_BX = scores_BV.new_empty(num_rows, num_tiles)
    token_BX = torch.empty_like(best_BX, dtype=torch.int64)
    if num_rows:
        gumbel_max_kernel[num_rows, num_tiles](
            scores_BV,
            seed_B,
            position_B,
            best_BX,
            token_BX,
            vocab_size,
            num_tiles,
            BLOCK_G=BLOCK_G,
            num_warps=NUM_WARPS,
        )
    return token_BX.gather(1, best_BX.argmax(dim=-1, keepdim=True))[:, 0]


@triton.jit
def gumbel_max_kernel(
    scores_ptr, seed_ptr, position_ptr, best_ptr, token_ptr, V, X, BLOCK_G: tl.constexpr
):
    """The best token of one row among those of one tile."""
    i_row = tl.program_id(0).to(tl.int64)
    i_tile = tl.program_id(1)
    seed = tl.load(seed_ptr + i_row)
    position = tl.load(position_ptr + i_row).to(tl.uint32)
    # [BLOCK_G]
    o_G = (i_tile * BLOCK_G + tl.arange(0, BLOCK_G)).to(tl.uint32)
    zero = o_G * 0
    b_w0, b_w1, b_w2, b_w3 = tl.philox(seed, o_G, zero + position, zero, zero)
    # [BLOCK_G * 4], the words of a counter side by side
    b_word = tl.reshape(tl.join(tl.join(b_w0, b_w2), tl.join(b_w1, b_w3)), [BLOCK_G * 4])
    b_uniform = (b_word.to(tl.float64) + 0.5) * 2.3283064365386963e-10  # 2 ** -32
    b_noise = -tl.log(-tl.log(b_uniform))
    o_V = i_tile * (BLOCK_G * 4) + tl.arange(0, BLOCK_G * 4)
    b_score = tl.load(scores_ptr + i_row * V + o_V, mask=o_V < V, other=-float("inf"))
    b_best, b_at = tl.max(b_score + b_noise.to(tl.float32), axis=0, return_indices=True)
    b_token = tl.minimum(i_tile * (BLOCK_G * 4) + b_at, V - 1)
    tl.store(best_ptr + i_row * X + i_tile, b_best)
    tl.store(token_ptr + i_row * X + i_tile, b_token.to(tl.int64))


def check_draw(scores_BV: Tensor, seed_B: Tensor, position_B: Tensor) -> None:
    """Raise ValueError for scores or columns that do not fit."""
    if scores_BV.dtype != torch.float32 or not scores_BV.is_contiguous():
        raise ValueError(f"scores of {scores_BV.dtype}, strides {scores_BV.stride()}")
    for name, column_B in (("seed", seed_B), ("position", position_B)):
        if column_B.dtype != torch.int64 or column_B.shape != scores_BV.shape[:1]:
            raise ValueError(f"{name} is {column_B.dtype} {tuple(column_B.shape)}")
