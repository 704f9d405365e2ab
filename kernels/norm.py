"""rmsnorm: divide each row by its root mean square, alone or behind the sum of a residual."""

import triton
import triton.language as tl
from torch import Tensor

TILE = 2048  # elements: short rows share a program
ELEMENTS_PER_THREAD = 16  # two loads of 16 bytes, in 16-bit dtypes
MAX_WARPS = 16


def rmsnorm(
    x_TK: Tensor, weight_K: Tensor, *, eps: float, add_one: bool, round_first: bool
) -> Tensor:
    """Normalise every row of x_TK, and scale its columns by weight_K.

    Semantics, in fp32 up to the roundings, w = weight_K + 1 with `add_one`, else weight_K:
        h = x_TK * rsqrt(mean(x_TK ** 2) + eps)
        y = round(round(w) * round(h)) with `round_first`, else round(w * h)
    where round() is to the dtype of x_TK.

    Args:
        x_TK: `[T, K]`, or `[T, H, K]` for a norm per head; views with adjacent columns will do.
        weight_K: Contiguous; dtype of x_TK.

    Returns:
        Contiguous, in the shape and dtype of x_TK.

    Raises:
        ValueError: Dtypes or widths disagree, or columns are not adjacent.

    Source: Zhang and Sennrich 2019, arXiv:1910.07467; roundings as in transformers' modules.
    """
    return _launch(x_TK, None, weight_K, eps=eps, add_one=add_one, round_first=round_first)


def add_rmsnorm(
    x_TK: Tensor,
    residual_TK: Tensor,
    weight_K: Tensor,
    *,
    eps: float,
    add_one: bool,
    round_first: bool,
) -> Tensor:
    """Add x_TK to residual_TK, in place, and normalise the sum.

    Semantics:
        residual_TK += x_TK, rounded to its dtype
        y = rmsnorm(residual_TK, …)

    Args:
        x_TK: `[T, K]`, columns adjacent.
        residual_TK: `[T, K]`, columns adjacent; dtype of x_TK. Not its storage.

    Returns:
        What `rmsnorm` returns for the new residual_TK.

    Raises:
        ValueError: As `rmsnorm`, or the shapes or dtypes of x_TK and residual_TK disagree.
    """
    if x_TK.dim() != 2 or residual_TK.shape != x_TK.shape or residual_TK.dtype != x_TK.dtype:
        raise ValueError(
            f"residual is {residual_TK.dtype} {tuple(residual_TK.shape)}, "
            f"x {x_TK.dtype} {tuple(x_TK.shape)}"
        )
    return _launch(x_TK, residual_TK, weight_K, eps=eps, add_one=add_one, round_first=round_first)


def _launch(
    x_TK: Tensor,
    residual_TK: Tensor | None,
    weight_K: Tensor,
    *,
    eps: float,
    add_one: bool,
    round_first: bool,
) -> Tensor:
    x_THK = x_TK if x_TK.dim() == 3 else x_TK.unsqueeze(1)
    check_norm(x_THK, weight_K)
    if residual_TK is not None and residual_TK.stride(-1) != 1:
        raise ValueError(f"the columns of residual {tuple(residual_TK.shape)} are not adjacent")
    num_tokens, num_heads, width = x_THK.shape
    num_rows = num_tokens * num_heads
    y_TK = x_TK.new_empty(x_TK.shape)
    tile = rmsnorm_tile(width)
    rmsnorm_kernel[(triton.cdiv(num_rows, tile["BLOCK_T"]),)](
        x_TK,
        residual_TK,
        weight_K,
        y_TK,
        num_rows,
        eps,
        x_THK.stride(0),
        x_THK.stride(1),
        0 if residual_TK is None else residual_TK.stride(0),
        H=num_heads,
        K=width,
        ADD_ONE=add_one,
        ROUND_FIRST=round_first,
        **tile,
    )
    return y_TK


def check_norm(x_THK: Tensor, weight_K: Tensor) -> None:
    """Raise ValueError unless rows and weight are as `rmsnorm` wants them."""
    if weight_K.dtype != x_THK.dtype:
        raise ValueError(f"the weight is {weight_K.dtype}, x {x_THK.dtype}")
    if weight_K.shape != x_THK.shape[2:] or not weight_K.is_contiguous():
        raise ValueError(
            f"weight {tuple(weight_K.shape)} is not contiguous [{x_THK.shape[2]}], the width of x"
        )
    if x_THK.stride(2) != 1:
        raise ValueError(f"the columns of x {tuple(x_THK.shape)} are not adjacent")


def rmsnorm_tile(width: int) -> dict[str, int]:
    """The launch for rows of `width`: whole rows in registers, and several where they are short."""
    block_k = triton.next_power_of_2(width)
    block_t = max(1, TILE // block_k)
    num_warps = min(MAX_WARPS, block_t * block_k // (32 * ELEMENTS_PER_THREAD))
    return {"BLOCK_T": block_t, "BLOCK_K": block_k, "num_warps": num_warps}


@triton.jit(do_not_specialize=["num_rows"])
def rmsnorm_kernel(
    x_ptr,
    residual_ptr,
    weight_ptr,
    y_ptr,
    num_rows,
    eps,
    stride_xt,
    stride_xh,
    stride_residual,
    H: tl.constexpr,
    K: tl.constexpr,
    ADD_ONE: tl.constexpr,
    ROUND_FIRST: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    # [BLOCK_T]
    o_t = tl.program_id(0).to(tl.int64) * BLOCK_T + tl.arange(0, BLOCK_T)
    o_x = o_t // H * stride_xt + o_t % H * stride_xh
    # [BLOCK_K]
    o_k = tl.arange(0, BLOCK_K)
    m_k = o_k < K
    b_weight = tl.load(weight_ptr + o_k, mask=m_k, other=0.0).to(tl.float32)
    # [BLOCK_T, BLOCK_K]
    mask = (o_t < num_rows)[:, None] & m_k[None, :]
    b_x = tl.load(x_ptr + o_x[:, None] + o_k[None, :], mask=mask, other=0.0)
    b_h = b_x.to(tl.float32)
    if residual_ptr is not None:
        p_residual = residual_ptr + o_t[:, None] * stride_residual + o_k[None, :]
        b_residual = tl.load(p_residual, mask=mask, other=0.0)
        b_sum = (b_residual.to(tl.float32) + b_h).to(b_x.dtype)
        tl.store(p_residual, b_sum, mask=mask)
        b_h = b_sum.to(tl.float32)
    b_square = tl.sum(b_h * b_h, axis=1) / K
    b_h *= tl.rsqrt(b_square + eps)[:, None]
    if ADD_ONE:
        b_weight += 1.0
    if ROUND_FIRST:
        b_weight = b_weight.to(b_x.dtype).to(tl.float32)
        b_h = b_h.to(b_x.dtype).to(tl.float32)
    b_y = (b_weight[None, :] * b_h).to(b_x.dtype)
    tl.store(y_ptr + o_t[:, None] * K + o_k[None, :], b_y, mask=mask)
