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


def rope(
    q_THD: Tensor,
    k_TGD: Tensor,
    v_TGD: Tensor,
    *,
    positions_T: Tensor,
    cache_index_T: Tensor,
    cos_XE: Tensor,
    sin_XE: Tensor,
    k_cache_PZGD: Tensor,
    v_cache_PZGD: Tensor,
    interleaved: bool,
    in_fp32: bool,
) -> None:
    """What `kernels.rope.rope` computes; q_THD and the caches change in place."""
    rows = (cache_index_T >= 0).nonzero().flatten()
    cos_TE, sin_TE = cos_XE[positions_T[rows]], sin_XE[positions_T[rows]]
    if in_fp32:
        cos_TE, sin_TE = cos_TE.float(), sin_TE.float()
    num_places = k_cache_PZGD.shape[1]
    places = (cache_index_T[rows] // num_places, cache_index_T[rows] % num_places)
    q_THD[rows] = rotate(q_THD[rows], cos_TE, sin_TE, interleaved=interleaved)
    k_cache_PZGD[places] = rotate(k_TGD[rows], cos_TE, sin_TE, interleaved=interleaved)
    v_cache_PZGD[places] = v_TGD[rows]


def rotate(x_THD: Tensor, cos_TE: Tensor, sin_TE: Tensor, *, interleaved: bool) -> Tensor:
    """Turn the first 2E features of every head, pair by pair, in the dtype of the angles."""
    num_pairs = cos_TE.shape[1]
    turned = 2 * num_pairs
    cos_T1E, sin_T1E = cos_TE[:, None], sin_TE[:, None]
    pairs, dim = ((num_pairs, 2), -1) if interleaved else ((2, num_pairs), -2)
    a_THE, b_THE = x_THD[..., :turned].view(*x_THD.shape[:2], *pairs).unbind(dim)
    first_THE = a_THE * cos_T1E + -b_THE * sin_T1E
    second_THE = b_THE * cos_T1E + a_THE * sin_T1E
    rotated = torch.stack((first_THE, second_THE), dim).flatten(-2)
    return torch.cat((rotated.to(x_THD.dtype), x_THD[..., turned:]), dim=-1)


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
