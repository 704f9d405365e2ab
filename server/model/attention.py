"""Attention over the paged cache, as the function that transformers calls in every layer.

It is plain torch: the definition on every device, and the path that serves on a CPU. There one
SDPA call takes either the new rows of one sequence or the single rows of several sequences of
similar length; the query heads of a group go in as rows, so that its keys are read once.
"""

import uuid
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface

from .attention_plan import Group, plan_groups
from .batch import ModelBatch
from .kv_cache import AttentionLayer, KVCache

AttentionResult = tuple[Tensor, None]


class PagedAttention:
    """The attention of one loaded model: owns the layer records and the step that is running."""

    def __init__(self, layers: tuple[AttentionLayer, ...]) -> None:
        self.layers = layers
        self.name = register(self.attend)
        self._place = {layer.index: place for place, layer in enumerate(layers)}
        self._cache: KVCache | None = None
        self._batch: ModelBatch | None = None
        self._groups: dict[tuple[int | None, int], list[Group]] = {}

    def begin(self, batch: ModelBatch, cache: KVCache) -> None:
        """Start a step: every layer that is called until `end` works on this batch."""
        self._batch, self._cache = batch, cache

    def end(self) -> None:
        """Let go of the step's tensors."""
        self._batch = self._cache = None
        self._groups.clear()

    def attend(
        self,
        module: nn.Module,
        q_1HTD: Tensor,
        k_1GTD: Tensor,
        v_1GTD: Tensor,
        attention_mask: Tensor | None = None,
        *,
        s_aux: Tensor | None = None,
        **_: object,
    ) -> AttentionResult:
        """Write the new keys and values, attend; `[1, T, H, Dv]`.

        What the model passes by other keywords has been recorded in `layers` at load.
        """
        assert attention_mask is None
        assert self._batch is not None
        assert self._cache is not None
        place = self._place[layer_index(module)]
        layer = self.layers[place]
        k_PZGD, v_PZGD = self._cache.k[place], self._cache.v[place]
        index_T = self._batch.cache_index_T
        k_PZGD.flatten(0, 1).index_copy_(0, index_T, k_1GTD[0].transpose(0, 1))
        v_PZGD.flatten(0, 1).index_copy_(0, index_T, v_1GTD[0].transpose(0, 1))
        q_THD = q_1HTD[0].transpose(0, 1)
        out_THD = q_THD.new_empty(*q_THD.shape[:2], layer.v_head_dim)
        for group in self._plan(layer, q_THD.dtype):
            group.put(out_THD, attend_group(q_THD, k_PZGD, v_PZGD, group, layer, s_aux))
        return out_THD[None], None

    def _plan(self, layer: AttentionLayer, dtype: torch.dtype) -> list[Group]:
        assert self._batch is not None
        assert self._cache is not None
        heads_per_group = layer.num_heads // layer.num_kv_heads
        key = (layer.window, heads_per_group)
        if key not in self._groups:
            self._groups[key] = plan_groups(
                self._batch,
                block_tokens=self._cache.block_tokens,
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


def register(attend: Callable[..., AttentionResult]) -> str:
    """Make `attend` known to transformers under a name of its own, and return the name."""
    name = f"weft_{uuid.uuid4().hex}"  # a plain word: `owner/name` would mean a kernel of the hub
    AttentionInterface.register(name, attend)
    return name


def layer_index(module: nn.Module) -> int:
    index = module.layer_idx
    assert isinstance(index, int)
    return index
