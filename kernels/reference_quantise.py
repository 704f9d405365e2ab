"""The definition of quantised rows, of activations and of weights, in plain torch."""

import torch
from torch import Tensor

LARGEST = {torch.int8: 127.0, torch.float8_e4m3fn: 448.0}
"""What the largest magnitude of a row becomes."""
SMALLEST = 1e-30
"""A row of zeros counts as one of this magnitude."""


def quantise_rows(x_TK: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Express every row in `dtype`, with a scale of its own.

    Semantics, in fp32:
        largest_T1 = max(|x_TK|)
        q_TK = round(x_TK * (LARGEST / largest_T1)), to the nearest of `dtype`, of two the even one
        scale_T1 = largest_T1 / LARGEST
    so that q_TK * scale_T1 is near x_TK. A row that is not finite has no finite scale.

    Args:
        dtype: int8, or e4m3.

    Returns:
        q_TK; scale_T1, fp32.
    """
    x_TK = x_TK.float()
    largest_T1 = x_TK.abs().amax(-1, keepdim=True).clamp_min(SMALLEST)
    # a number over a tensor is a reciprocal to torch, and rounds twice
    q_TK = x_TK * (torch.full_like(largest_T1, LARGEST[dtype]) / largest_T1)
    if dtype is torch.int8:
        q_TK = q_TK.round()
    return q_TK.to(dtype), largest_T1 / LARGEST[dtype]
