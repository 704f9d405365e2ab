"""quantise_rows: rows to e4m3, each with a scale of its own, before a product in fp8."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .norm import rmsnorm_tile
from .reference_quantise import LARGEST, SMALLEST

E4M3 = torch.float8_e4m3fn


def quantise_rows(x_TK: Tensor) -> tuple[Tensor, Tensor]:
    """Express every row in e4m3, with a scale of its own.

    Semantics: those of `reference_quantise.quantise_rows`.

    Args:
        x_TK: Columns adjacent; fp32, fp16 or bf16.

    Returns:
        q_TK, contiguous; scale_T1, fp32.

    Raises:
        ValueError: Columns are not adjacent.
    """
    if x_TK.stride(1) != 1:
        raise ValueError(f"the columns of x {tuple(x_TK.shape)} are not adjacent")
    num_rows, width = x_TK.shape
    q_TK = x_TK.new_empty(num_rows, width, dtype=E4M3)
    scale_T1 = x_TK.new_empty(num_rows, 1, dtype=torch.float32)
    tile = rmsnorm_tile(width)  # whole rows in registers, as there
    quantise_kernel[(triton.cdiv(num_rows, tile["BLOCK_T"]),)](
        x_TK,
        q_TK,
        scale_T1,
        num_rows,
        x_TK.stride(0),
        K=width,
        LARGEST=LARGEST[E4M3],
        SMALLEST=SMALLEST,
        **tile,
    )
    return q_TK, scale_T1


@triton.jit(do_not_specialize=["num_rows"])
def quantise_kernel(
    x_ptr,
    q8_ptr,
    scale_ptr,
    num_rows,
    stride_x,
    K: tl.constexpr,
    LARGEST: tl.constexpr,
    SMALLEST: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    # [BLOCK_T]
    o_t = tl.program_id(0).to(tl.int64) * BLOCK_T + tl.arange(0, BLOCK_T)
    m_t = o_t < num_rows
    # [BLOCK_K]
    o_k = tl.arange(0, BLOCK_K)
    # [BLOCK_T, BLOCK_K]
    mask = m_t[:, None] & (o_k < K)[None, :]
    b_x = tl.load(x_ptr + o_t[:, None] * stride_x + o_k[None, :], mask=mask, other=0.0)
    b_x = b_x.to(tl.float32)
    # a maximum passes over NaN, a sum of zeros does not
    b_spoilt = tl.sum(b_x * 0.0, axis=1)
    b_largest = tl.maximum(tl.max(tl.abs(b_x), axis=1), SMALLEST) + b_spoilt
    b_factor = tl.div_rn(tl.full([BLOCK_T], LARGEST, tl.float32), b_largest)
    b_q = (b_x * b_factor[:, None]).to(tl.float8e4nv)
    tl.store(q8_ptr + o_t[:, None] * K + o_k[None, :], b_q, mask=mask)
    b_scale = tl.div_rn(b_largest, tl.full([BLOCK_T], LARGEST, tl.float32))
    tl.store(scale_ptr + o_t, b_scale, mask=m_t)
