"""Attention by the Triton kernels, the path of a GPU."""

import torch
import triton
from torch import Tensor

from weft.kernels.attention_decode import DecodeWorkspace, attention_decode
from weft.kernels.attention_prefill import attention_prefill
from weft.kernels.attention_tiles import MAX_HEAD_DIM, num_splits, prefill_tile
from weft.kernels.paged import has_adjacent_heads
from weft.kernels.query_tiles import QueryTiles, cut_queries
from weft.server.errors import ModelRefused

from .batch import ModelBatch
from .kv_cache import AttentionLayer


class KernelAttention:
    """Decodes by splits where every sequence has one row; any other step is prefilled by tiles.

    What the kernels read beside the batch goes to the device once per step, in `begin`, where the
    batch does not bring it.

    Attributes:
        tile_tokens: New tokens in one tile of queries, of all kinds of layers.

    Raises:
        ModelRefused: A layer's heads are wider than the kernels take.
    """

    def __init__(
        self, layers: tuple[AttentionLayer, ...], dtype: torch.dtype, device: torch.device
    ) -> None:
        for layer in layers:
            _check(layer)
        self._layers = layers
        self._dtype = dtype
        self._device = device
        self.tile_tokens = frozenset(self._tokens_of(layer) for layer in layers)
        self._workspace: DecodeWorkspace | None = None
        self._max_sequences = 0
        self._block_table_BM: Tensor | None = None
        self._kv_len_B: Tensor | None = None
        self._queries: dict[int, QueryTiles] = {}

    def begin(self, batch: ModelBatch) -> None:
        """Start a step."""
        self._block_table_BM = batch.block_table_BM
        if batch.queries is not None:
            self._queries.update(batch.queries)
        elif batch.indptr_B1[-1] == len(batch.kv_len_B):
            self._make_room(len(batch.kv_len_B))
            self._kv_len_B = batch.kv_len
            if batch.kv_len is None:
                kv_len_B = torch.tensor(batch.kv_len_B, dtype=torch.int32)
                self._kv_len_B = kv_len_B.to(self._device, non_blocking=True)
        else:
            for tokens in self.tile_tokens:
                tiles = cut_queries(batch.indptr_B1, batch.kv_len_B, max_rows=tokens)
                self._queries[tokens] = tiles.to(self._device)

    def end(self) -> None:
        """Let go of the step's tensors."""
        self._block_table_BM = self._kv_len_B = None
        self._queries.clear()

    def attend(
        self,
        q_THD: Tensor,
        k_PZGD: Tensor,
        v_PZGD: Tensor,
        layer: AttentionLayer,
        sinks_H: Tensor | None,
    ) -> Tensor:
        """Attend with the rows of the step to a cache that holds their keys; `[T, H, Dv]`."""
        assert self._block_table_BM is not None
        q_THD = q_THD if has_adjacent_heads(q_THD) else q_THD.contiguous()
        if self._kv_len_B is None:
            return attention_prefill(
                q_THD,
                k_PZGD,
                v_PZGD,
                self._block_table_BM,
                self._queries[self._tokens_of(layer)],
                scaling=layer.scaling,
                window=layer.window,
                softcap=layer.softcap,
                sinks_H=sinks_H,
            )
        assert self._workspace is not None
        return attention_decode(
            q_THD,
            k_PZGD,
            v_PZGD,
            self._block_table_BM,
            self._kv_len_B,
            scaling=layer.scaling,
            num_splits=num_splits(layer.num_kv_heads, self._device),
            workspace=self._workspace,
            window=layer.window,
            softcap=layer.softcap,
            sinks_H=sinks_H,
        )

    def _tokens_of(self, layer: AttentionLayer) -> int:
        """New tokens in one tile of the layer's queries."""
        head_dim = max(layer.head_dim, layer.v_head_dim)
        tile = prefill_tile(head_dim, self._dtype, self._device)
        return max(1, tile.rows // (layer.num_heads // layer.num_kv_heads))

    def _make_room(self, num_sequences: int) -> None:
        """Let the workspace hold so many sequences in any layer; it never shrinks."""
        if num_sequences <= self._max_sequences:
            return
        self._max_sequences = triton.next_power_of_2(num_sequences)
        rows = max(
            layer.num_heads * num_splits(layer.num_kv_heads, self._device) for layer in self._layers
        )
        self._workspace = DecodeWorkspace.allocate(
            self._max_sequences * rows,
            v_head_dim=max(layer.v_head_dim for layer in self._layers),
            num_units=self._max_sequences * max(layer.num_kv_heads for layer in self._layers),
            device=self._device,
        )


def _check(layer: AttentionLayer) -> None:
    width = max(layer.head_dim, layer.v_head_dim)
    if width > MAX_HEAD_DIM:
        raise ModelRefused(
            f"gate 3 (calls): layer {layer.index} has heads of {width}, the attention kernels "
            f"take at most {MAX_HEAD_DIM}"
        )
