"""The definition of attention over a paged cache, in plain torch: loops, fp32 inside."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor


def attention(
    q_THD: Tensor,
    k_cache_PZGD: Tensor,
    v_cache_PZGD: Tensor,
    block_table_BM: Tensor,
    *,
    indptr_B1: Sequence[int],
    kv_len_B: Sequence[int],
    scaling: float,
    window: int | None = None,
    softcap: float | None = None,
    sinks_H: Tensor | None = None,
) -> Tensor:
    """What `attention_prefill` computes, and with one row per sequence `attention_decode`.

    Semantics, for the i-th of the n rows of sequence b, and head h of the KV head g = h // (H / G):
        k, v = the first kv_len[b] keys and values of head g in the blocks block_table[b]
        seen = positions p - window < key <= p, where p = kv_len[b] - n + i
        s = scaling * q[i, h] @ k[seen].T, then softcap * tanh(s / softcap)
        out[i, h] = softmax([s, sinks[h]])[without the sink] @ v[seen]
    """
    out_THD = q_THD.new_zeros(*q_THD.shape[:2], v_cache_PZGD.shape[3])
    for b, (start, stop) in enumerate(pairwise(indptr_B1)):
        k_NGD, v_NGD = (
            cache[block_table_BM[b].long()].flatten(0, 1)[: kv_len_B[b]].float()
            for cache in (k_cache_PZGD, v_cache_PZGD)
        )
        key = torch.arange(kv_len_B[b], device=q_THD.device)
        position = key[kv_len_B[b] - (stop - start) :, None]
        seen = key <= position
        if window is not None:
            seen &= key > position - window
        for h in range(q_THD.shape[1]):
            g = h // (q_THD.shape[1] // k_NGD.shape[1])
            scores = q_THD[start:stop, h].float() @ k_NGD[:, g].T * scaling
            if softcap is not None:
                scores = softcap * torch.tanh(scores / softcap)
            scores = scores.masked_fill(~seen, float("-inf"))
            if sinks_H is not None:
                sink = sinks_H[h].float().expand(stop - start, 1)
                scores = torch.cat([scores, sink], dim=1)
            weights = scores.softmax(1)[:, : kv_len_B[b]]
            out_THD[start:stop, h] = (weights @ v_NGD[:, g]).to(q_THD.dtype)
    return out_THD
