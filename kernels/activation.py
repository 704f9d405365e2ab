"""glu: the activated gate times up, the two halves of a gated MLP's merged output."""

from typing import Literal

import triton
import triton.language as tl
from torch import Tensor

BLOCK_K = 1024  # one load of 16 bytes per thread and half, in 16-bit dtypes
NUM_WARPS = 4

Activation = Literal["silu", "gelu", "gelu_tanh"]


def glu(y_TN: Tensor, *, activation: Activation) -> Tensor:
    """Multiply the activated first half of every row with its second half.

    Semantics, K = N / 2, round() to the dtype of y_TN, all else in fp32:
        x_TK = round(round(activation(y_TN[:, :K])) * y_TN[:, K:])
        silu(g) = g * sigmoid(g)
        gelu(g) = g * Φ(g), by erf
        gelu_tanh(g) = g * (1 + tanh(√(2/π) * (g + 0.044715 g³))) / 2

    Args:
        y_TN: What a merged gate and up site yields, the gate first; columns adjacent.

    Returns:
        x_TK, contiguous, dtype of y_TN.

    Raises:
        ValueError: N is odd, or columns are not adjacent.

    Source: GLU variants, Shazeer 2020, arXiv:2002.05202; gelu, Hendrycks and Gimpel 2016,
    arXiv:1606.08415.
    """
    num_rows, width = y_TN.shape
    if width % 2 != 0:
        raise ValueError(f"y {tuple(y_TN.shape)} has no two halves")
    if y_TN.stride(1) != 1:
        raise ValueError(f"the columns of y {tuple(y_TN.shape)} are not adjacent")
    x_TK = y_TN.new_empty(num_rows, width // 2)
    grid = (num_rows, triton.cdiv(width // 2, BLOCK_K))
    glu_kernel[grid](
        y_TN,
        x_TK,
        y_TN.stride(0),
        K=width // 2,
        ACTIVATION=activation,
        BLOCK_K=BLOCK_K,
        num_warps=NUM_WARPS,
    )
    return x_TK


@triton.jit
def glu_kernel(
    y_ptr,
    x_ptr,
    stride_y,
    K: tl.constexpr,
    ACTIVATION: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    i_t = tl.program_id(0).to(tl.int64)
    # [BLOCK_K]
    o_k = tl.program_id(1) * BLOCK_K + tl.arange(0, BLOCK_K)
    m_k = o_k < K
    p_gate = y_ptr + i_t * stride_y + o_k
    b_gate = tl.load(p_gate, mask=m_k, other=0.0)
    b_up = tl.load(p_gate + K, mask=m_k, other=0.0)
    b_x = activate(b_gate.to(tl.float32), ACTIVATION).to(b_gate.dtype)
    b_x = (b_x.to(tl.float32) * b_up.to(tl.float32)).to(b_gate.dtype)
    tl.store(x_ptr + i_t * K + o_k, b_x, mask=m_k)


@triton.jit
def activate(b_gate, ACTIVATION: tl.constexpr):
    if ACTIVATION == "gelu":
        b_share = 0.5 * (1.0 + tl.erf(b_gate * 0.7071067811865476))
    elif ACTIVATION == "gelu_tanh":
        # (1 + tanh(z)) / 2 = sigmoid(2z)
        b_cubed = b_gate * b_gate * b_gate
        b_share = _sigmoid(1.5957691216057308 * (b_gate + 0.044715 * b_cubed))
    else:
        tl.static_assert(ACTIVATION == "silu")
        b_share = _sigmoid(b_gate)
    return b_gate * b_share


@triton.jit
def _sigmoid(b_z):
    b_e = tl.exp(-tl.abs(b_z))
    return tl.where(b_z >= 0, 1.0, b_e) / (1.0 + b_e)
