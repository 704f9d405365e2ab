"""The keys and values of all sequences, in blocks."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class AttentionLayer:
    """What one layer asks of attention, as recorded from a run of the model.

    Attributes:
        index: The model's own number of the layer.
        scaling: Factor on the scores.
        window: A query sees this many keys, itself included; None = all.
        softcap: Scores are squashed to ±softcap; None = not.
        sinks: Whether one extra logit per head joins the softmax.
    """

    index: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    v_head_dim: int
    scaling: float
    window: int | None
    softcap: float | None
    sinks: bool

    @property
    def kv_features(self) -> int:
        """Elements that one token keeps in this layer, keys and values together."""
        return self.num_kv_heads * (self.head_dim + self.v_head_dim)


class KVCache:
    """`k[i]` and `v[i]`, `[P, Z, G, D]`, of the i-th attention layer. Zero at first: never NaN."""

    def __init__(
        self,
        layers: Sequence[AttentionLayer],
        *,
        num_blocks: int,
        block_tokens: int,
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> None:
        def zeros(layer: AttentionLayer, head_dim: int) -> Tensor:
            shape = (num_blocks, block_tokens, layer.num_kv_heads, head_dim)
            return torch.zeros(shape, dtype=dtype, device=device)

        self.num_blocks = num_blocks
        self.block_tokens = block_tokens
        self.k = [zeros(layer, layer.head_dim) for layer in layers]
        self.v = [zeros(layer, layer.v_head_dim) for layer in layers]

    def copy_blocks(self, copies: Sequence[tuple[int, int]]) -> None:
        """Copy whole blocks, from the first of each pair to the second, in every layer.

        No block is copied to twice, nor both from and to.
        """
        pairs = torch.tensor(copies, device=self.k[0].device)
        for tensor in (*self.k, *self.v):
            tensor.index_copy_(0, pairs[:, 1], tensor.index_select(0, pairs[:, 0]))


def block_bytes(layers: Sequence[AttentionLayer], *, block_tokens: int, dtype: torch.dtype) -> int:
    """Bytes of one block in all layers."""
    return sum(layer.kv_features for layer in layers) * block_tokens * dtype.itemsize
