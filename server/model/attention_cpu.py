"""The path of a CPU: single rows read the cache where it lies, chunks of a prompt go through SDPA.

The query heads of a group go into SDPA as rows, so that its keys are read once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from weft.kernels.attention_cpu import attention_decode_cpu, compile_decode

from .batch import ModelBatch
from .kv_cache import AttentionLayer


@dataclass(frozen=True, slots=True, eq=False)
class Singles:
    """The sequences with one new row each.

    Attributes:
        rows: Their rows of the step; None = all rows are theirs.
    """

    rows: Tensor | None
    block_table_BM: Tensor
    kv_len_B: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """The new rows of one sequence, for layers of one window and one number of heads a group.

    Attributes:
        blocks: int32, those that hold the keys that some row sees.
        keys: Which of the blocks' keys take part.
        mask: Added to the scores, `[query rows, keys]`, each row once per head of a group.
    """

    rows: slice
    blocks: Tensor
    keys: slice
    mask: Tensor

    def gather(self, cache_PZGD: Tensor) -> Tensor:
        """The keys, or the values: `[G, keys, D]`."""
        return cache_PZGD.index_select(0, self.blocks).flatten(0, 1)[self.keys].transpose(0, 1)


class CpuAttention:
    """Plans a step once for all layers that ask the same of it.

    Attributes:
        tile_tokens: None: nothing reads tiles of queries here.
    """

    tile_tokens: frozenset[int] = frozenset()

    def __init__(self, dtype: torch.dtype) -> None:
        compile_decode(dtype)  # now, or the first token of a request would wait for it
        self._batch: ModelBatch | None = None
        self._singles: Singles | None = None
        self._chunks: dict[tuple[int | None, int], list[Chunk]] = {}

    def begin(self, batch: ModelBatch) -> None:
        """Start a step."""
        self._batch = batch
        self._singles = find_singles(batch)

    def end(self) -> None:
        """Let go of the step's tensors."""
        self._batch = self._singles = None
        self._chunks.clear()

    def attend(
        self,
        q_THD: Tensor,
        k_PZGD: Tensor,
        v_PZGD: Tensor,
        layer: AttentionLayer,
        sinks_H: Tensor | None,
    ) -> Tensor:
        """Attend with the rows of the step to a cache that holds their keys; `[T, H, Dv]`."""
        singles = self._singles
        if singles is not None and singles.rows is None:
            return attend_singles(q_THD, k_PZGD, v_PZGD, singles, layer, sinks_H)
        out_THD = q_THD.new_empty(*q_THD.shape[:2], layer.v_head_dim)
        if singles is not None:
            own_BHD = q_THD[singles.rows]
            out_THD[singles.rows] = attend_singles(own_BHD, k_PZGD, v_PZGD, singles, layer, sinks_H)
        for chunk in self._plan(layer, q_THD.dtype, block_tokens=k_PZGD.shape[1]):
            out_THD[chunk.rows] = attend_chunk(q_THD, k_PZGD, v_PZGD, chunk, layer, sinks_H)
        return out_THD

    def _plan(self, layer: AttentionLayer, dtype: torch.dtype, *, block_tokens: int) -> list[Chunk]:
        assert self._batch is not None
        key = (layer.window, layer.num_heads // layer.num_kv_heads)
        if key not in self._chunks:
            self._chunks[key] = list(
                plan_chunks(
                    self._batch,
                    block_tokens=block_tokens,
                    window=layer.window,
                    heads_per_group=key[1],
                    dtype=dtype,
                )
            )
        return self._chunks[key]


def find_singles(batch: ModelBatch) -> Singles | None:
    """The sequences with one new row, if there are any."""
    own = [(b, row) for b, (row, stop) in enumerate(pairwise(batch.indptr_B1)) if stop == row + 1]
    if not own:
        return None
    kv_len_B = torch.tensor([batch.kv_len_B[b] for b, _ in own], dtype=torch.int32)
    if len(own) == batch.indptr_B1[-1]:
        return Singles(None, batch.block_table_BM, kv_len_B)
    sequences, rows = map(list, zip(*own, strict=True))
    return Singles(torch.tensor(rows), batch.block_table_BM[sequences], kv_len_B)


def plan_chunks(
    batch: ModelBatch,
    *,
    block_tokens: int,
    window: int | None,
    heads_per_group: int,
    dtype: torch.dtype,
) -> Iterator[Chunk]:
    """Plan the sequences with several new rows, one by one."""
    for b, (row, stop) in enumerate(pairwise(batch.indptr_B1)):
        num_new, kv_len = stop - row, batch.kv_len_B[b]
        if num_new == 1:
            continue
        first = 0 if window is None else max(0, kv_len - num_new - window + 1)
        first_block = first // block_tokens
        blocks = batch.block_table_BM[b, first_block : -(-kv_len // block_tokens)]
        mask = _mask(num_new, kv_len - first, window, dtype).repeat(heads_per_group, 1)
        offset = first - first_block * block_tokens
        yield Chunk(slice(row, stop), blocks, slice(offset, offset + kv_len - first), mask)


def _mask(num_new: int, num_keys: int, window: int | None, dtype: torch.dtype) -> Tensor:
    """`[num_new, num_keys]`: minus infinity where a row may not see a key."""
    key = torch.arange(num_keys)
    position = torch.arange(num_keys - num_new, num_keys)[:, None]
    hidden = key > position
    if window is not None:
        hidden |= position - key >= window
    return torch.zeros(num_new, num_keys, dtype=dtype).masked_fill_(hidden, float("-inf"))


def attend_singles(
    q_BHD: Tensor,
    k_PZGD: Tensor,
    v_PZGD: Tensor,
    singles: Singles,
    layer: AttentionLayer,
    sinks_H: Tensor | None,
) -> Tensor:
    """Attend with one row of each sequence: `[B, H, Dv]`."""
    return attention_decode_cpu(
        q_BHD,
        k_PZGD,
        v_PZGD,
        singles.block_table_BM,
        singles.kv_len_B,
        scaling=layer.scaling,
        window=layer.window,
        softcap=layer.softcap,
        sinks_H=sinks_H,
    )


def attend_chunk(
    q_THD: Tensor,
    k_PZGD: Tensor,
    v_PZGD: Tensor,
    chunk: Chunk,
    layer: AttentionLayer,
    sinks_H: Tensor | None,
) -> Tensor:
    """Attend with one sequence's rows: `[new rows, H, Dv]`."""
    own_THD = q_THD[chunk.rows]
    q = own_THD.transpose(0, 1).reshape(layer.num_kv_heads, -1, layer.head_dim)
    k, v = chunk.gather(k_PZGD), chunk.gather(v_PZGD)
    if layer.softcap is None and sinks_H is None:
        out = F.scaled_dot_product_attention(
            q[None], k[None], v[None], attn_mask=chunk.mask[None, None], scale=layer.scaling
        )
    else:
        out = _attend_eager(q, k, v, chunk, layer, sinks_H)
    return out.view(layer.num_heads, len(own_THD), layer.v_head_dim).transpose(0, 1)


def _attend_eager(
    q: Tensor, k: Tensor, v: Tensor, chunk: Chunk, layer: AttentionLayer, sinks_H: Tensor | None
) -> Tensor:
    """SDPA has neither softcap nor sinks: the same in steps, the scores in fp32."""
    scores = (q @ k.transpose(1, 2)).float() * layer.scaling
    if layer.softcap is not None:
        scores = layer.softcap * torch.tanh(scores / layer.softcap)
    scores = scores + chunk.mask
    if sinks_H is not None:
        num_new = chunk.rows.stop - chunk.rows.start
        sinks = sinks_H.float().view(layer.num_kv_heads, -1, 1).repeat_interleave(num_new, 1)
        scores = torch.cat([scores, sinks], dim=-1)
    weights = scores.softmax(dim=-1)[..., : k.shape[1]]
    return weights.to(v.dtype) @ v
