"""The definitions of the row ops in plain torch: on a CPU, bit for bit transformers' own code."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .activation import Activation


def rmsnorm(
    x_TK: Tensor, weight_K: Tensor, *, eps: float, add_one: bool, round_first: bool
) -> Tensor:
    """What `kernels.norm.rmsnorm` computes."""
    h_TK = x_TK.float()
    h_TK = h_TK * torch.rsqrt(h_TK.pow(2).mean(-1, keepdim=True) + eps)
    if round_first:
        h_TK = h_TK.to(x_TK.dtype)
    else:
        weight_K = weight_K.float()
    if add_one:
        weight_K = 1.0 + weight_K
    return (weight_K * h_TK).to(x_TK.dtype)


def add_rmsnorm(
    x_TK: Tensor,
    residual_TK: Tensor,
    weight_K: Tensor,
    *,
    eps: float,
    add_one: bool,
    round_first: bool,
) -> Tensor:
    """What `kernels.norm.add_rmsnorm` computes; residual_TK changes in place."""
    residual_TK += x_TK
    return rmsnorm(residual_TK, weight_K, eps=eps, add_one=add_one, round_first=round_first)


def glu(y_TN: Tensor, *, activation: Activation) -> Tensor:
    """What `kernels.activation.glu` computes."""
    gate_TK, up_TK = y_TN.chunk(2, dim=-1)
    gate_TK = gate_TK.contiguous()  # as modules have it: torch rounds a view's last bits otherwise
    match activation:
        case "silu":
            return F.silu(gate_TK) * up_TK
        case "gelu":
            return F.gelu(gate_TK) * up_TK
        case "gelu_tanh":
            return F.gelu(gate_TK, approximate="tanh") * up_TK
