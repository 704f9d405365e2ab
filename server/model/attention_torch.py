"""Attention in plain torch, the path of a CPU.

One SDPA call takes either the new rows of one sequence or the single rows of several sequences of
similar length; the query heads of a group go in as rows, so that its keys are read once.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .attention_plan import Group, plan_groups
from .batch import ModelBatch
from .kv_cache import AttentionLayer


class TorchAttention:
    """Groups the sequences of a step once for all layers that ask the same of them."""

    def __init__(self) -> None:
        self._batch: ModelBatch | None = None
        self._groups: dict[tuple[int | None, int], list[Group]] = {}

    def begin(self, batch: ModelBatch) -> None:
        """Start a step."""
        self._batch = batch

    def end(self) -> None:
        """Let go of the step's tensors."""
        self._batch = None
        self._groups.clear()

    def attend(
        self,
        q_THD: Tensor,
        k_PZGD: Tensor,
        v_PZGD: Tensor,
        layer: AttentionLayer,
        sinks_H: Tensor | None,
    ) -> Tensor:
        """Attend with the rows of the step to a cache that holds their keys; `[T, H, Dv]`."""
        out_THD = q_THD.new_empty(*q_THD.shape[:2], layer.v_head_dim)
        for group in self._plan(layer, q_THD.dtype, block_tokens=k_PZGD.shape[1]):
            group.put(out_THD, attend_group(q_THD, k_PZGD, v_PZGD, group, layer, sinks_H))
        return out_THD

    def _plan(self, layer: AttentionLayer, dtype: torch.dtype, *, block_tokens: int) -> list[Group]:
        assert self._batch is not None
        heads_per_group = layer.num_heads // layer.num_kv_heads
        key = (layer.window, heads_per_group)
        if key not in self._groups:
            self._groups[key] = plan_groups(
                self._batch,
                block_tokens=block_tokens,
                window=layer.window,
                heads_per_group=heads_per_group,
                dtype=dtype,
            )
        return self._groups[key]


def attend_group(
    q_THD: Tensor,
    k_PZGD: Tensor,
    v_PZGD: Tensor,
    group: Group,
    layer: AttentionLayer,
    sinks_H: Tensor | None,
) -> Tensor:
    """Attend for one group of the plan: `[rows, H, Dv]`, in the order of `group.rows`."""
    num, new, num_kv = group.num_sequences, group.num_new, layer.num_kv_heads
    q = group.take(q_THD).view(num, new, num_kv, -1, layer.head_dim)
    q = q.permute(0, 2, 3, 1, 4).reshape(num, num_kv, -1, layer.head_dim)
    k, v = group.gather(k_PZGD), group.gather(v_PZGD)
    if layer.softcap is None and sinks_H is None:
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=group.mask, scale=layer.scaling)
    else:
        out = _attend_eager(q, k, v, group, layer, sinks_H)
    out = out.view(num, num_kv, -1, new, layer.v_head_dim).permute(0, 3, 1, 2, 4)
    return out.reshape(num * new, layer.num_heads, layer.v_head_dim)


def _attend_eager(
    q: Tensor, k: Tensor, v: Tensor, group: Group, layer: AttentionLayer, sinks_H: Tensor | None
) -> Tensor:
    """SDPA has neither softcap nor sinks: the same in steps, the scores in fp32."""
    scores = (q @ k.transpose(2, 3)).float() * layer.scaling
    if layer.softcap is not None:
        scores = layer.softcap * torch.tanh(scores / layer.softcap)
    if group.mask is not None:
        scores = scores + group.mask
    if sinks_H is not None:
        sinks = (
            sinks_H.float().view(1, layer.num_kv_heads, -1, 1).repeat_interleave(group.num_new, 2)
        )
        scores = torch.cat([scores, sinks.expand(*scores.shape[:3], 1)], dim=-1)
    weights = scores.softmax(dim=-1)[..., : k.shape[2]]
    return weights.to(v.dtype) @ v
