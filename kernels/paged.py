"""What both attention kernels ask of their inputs."""

from typing import NamedTuple

import torch
from torch import Tensor


class PagedShape(NamedTuple):
    """The sizes that are constants of a launch; `group` query heads share a KV head."""

    block_tokens: int
    num_kv_heads: int
    group: int
    head_dim: int
    v_head_dim: int


def check_paged(
    q_THD: Tensor,
    k_cache_PZGD: Tensor,
    v_cache_PZGD: Tensor,
    block_table_BM: Tensor,
    *,
    scaling: float,
) -> PagedShape:
    """Check what the kernels trust.

    Raises:
        ValueError: Dtypes or shapes disagree, a layout is another, scaling is not positive.
    """
    for name, cache in (("k_cache", k_cache_PZGD), ("v_cache", v_cache_PZGD)):
        if cache.dtype != q_THD.dtype:
            raise ValueError(f"{name} is {cache.dtype}, q {q_THD.dtype}")
        if not cache.is_contiguous():
            raise ValueError(f"{name} {tuple(cache.shape)} is not contiguous")
    if not has_adjacent_heads(q_THD):
        raise ValueError(f"the heads of q {tuple(q_THD.shape)} are not adjacent")
    num_heads, head_dim = q_THD.shape[1:]
    block_tokens, num_kv_heads, v_head_dim = v_cache_PZGD.shape[1:]
    if k_cache_PZGD.shape != (*v_cache_PZGD.shape[:3], head_dim):
        raise ValueError(
            f"keys {tuple(k_cache_PZGD.shape)}, values {tuple(v_cache_PZGD.shape)} and queries "
            f"{tuple(q_THD.shape)} do not fit together"
        )
    if num_heads % num_kv_heads:
        raise ValueError(f"{num_heads} query heads are no multiple of {num_kv_heads} KV heads")
    if block_table_BM.dtype != torch.int32 or block_table_BM.stride(-1) != 1:
        raise ValueError(f"block_table is {block_table_BM.dtype}, not int32 in contiguous rows")
    if not scaling > 0:
        raise ValueError(f"scaling {scaling} is not positive")
    return PagedShape(block_tokens, num_kv_heads, num_heads // num_kv_heads, head_dim, v_head_dim)


def has_adjacent_heads(q_THD: Tensor) -> bool:
    """Whether the heads of a row lie one behind another, as they do in a merged output, too."""
    num_heads, head_dim = q_THD.shape[1:]
    return q_THD.stride(2) == 1 and (num_heads == 1 or q_THD.stride(1) == head_dim)
