"""Paged caches with random keys, ragged steps over them, and the ways to attend."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import NamedTuple, TypedDict

import pytest
import torch
from torch import Tensor

from weft.kernels import reference_attention
from weft.kernels.attention_decode import DecodeWorkspace, attention_decode
from weft.kernels.attention_prefill import attention_prefill
from weft.kernels.attention_tiles import prefill_tile
from weft.kernels.query_tiles import QueryTiles, cut_queries

from .cases import DTYPES, TOLERANCE, compiled, interpreted

NUM_SPLITS = 3


@dataclass(frozen=True, slots=True)
class Kind:
    """What a layer asks of attention."""

    num_heads: int = 4
    num_kv_heads: int = 2
    head_dim: int = 16
    v_head_dim: int = 16
    block_tokens: int = 16
    window: int | None = None
    softcap: float | None = None
    sinks: bool = False

    @property
    def group(self) -> int:
        return self.num_heads // self.num_kv_heads

    @property
    def scaling(self) -> float:
        return 1.3 / math.sqrt(self.head_dim)


KINDS = {
    "gqa": Kind(),
    "one-to-one": Kind(num_heads=2),
    "seven-heads-odd-width": Kind(num_heads=7, num_kv_heads=1, head_dim=20, v_head_dim=12),
    "window": Kind(window=5, block_tokens=4),
    "wide-window": Kind(window=150, num_heads=2, num_kv_heads=1),
    "softcap": Kind(softcap=1.5, num_heads=4, num_kv_heads=1),
    "sinks": Kind(sinks=True, block_tokens=64),
    "all": Kind(
        window=131, softcap=2.0, sinks=True, num_heads=6, num_kv_heads=2, block_tokens=19
    ),
}  # fmt: skip
LARGE = Kind(num_heads=32, num_kv_heads=8, head_dim=128, v_head_dim=128)
LARGE_KINDS = {
    "llama": LARGE,
    "gpt-oss": replace(LARGE, head_dim=64, v_head_dim=64, window=128, sinks=True),
    "gemma2": replace(
        LARGE, num_heads=8, num_kv_heads=4, head_dim=256, v_head_dim=256, window=700, softcap=50.0
    ),
    "odd": replace(LARGE, num_heads=7, num_kv_heads=1, head_dim=80, v_head_dim=112),
}


class Options(TypedDict):
    scaling: float
    window: int | None
    softcap: float | None
    sinks_H: Tensor | None


class Paged(NamedTuple):
    """The cache of some sequences. Whatever none of them wrote is NaN."""

    kind: Kind
    k_PZGD: Tensor
    v_PZGD: Tensor
    table_BM: Tensor
    sinks_H: Tensor | None

    @property
    def options(self) -> Options:
        kind = self.kind
        return Options(
            scaling=kind.scaling, window=kind.window, softcap=kind.softcap, sinks_H=self.sinks_H
        )

    def only(self, sequence: int) -> "Paged":
        """The same cache with one sequence in the table."""
        return self._replace(table_BM=self.table_BM[sequence : sequence + 1])

    def keys(self, sequence: int, length: int) -> tuple[Tensor, Tensor]:
        """Keys and values of one sequence, `[length, G, D]`."""
        blocks = self.table_BM[sequence].long()
        k, v = (cache[blocks].flatten(0, 1)[:length] for cache in (self.k_PZGD, self.v_PZGD))
        return k, v


class Run(NamedTuple):
    """A device and dtype to attend on."""

    device: str
    dtype: torch.dtype

    @property
    def tolerance(self) -> float:
        return TOLERANCE[self.dtype]

    def queries(self, kind: Kind, num_rows: int, *, seed: int = 1) -> Tensor:
        """The queries of a merged output, with other columns behind them."""
        draw = torch.Generator().manual_seed(seed)
        width = kind.num_heads * kind.head_dim
        merged_TN = torch.randn(num_rows, width + 16, generator=draw).to(self.device, self.dtype)
        return merged_TN[:, :width].view(num_rows, kind.num_heads, kind.head_dim)

    def cache(self, kind: Kind, lengths: Sequence[int], *, seed: int = 0) -> Paged:
        """Sequences in shuffled blocks; the table is wider than any of them needs."""
        draw = torch.Generator().manual_seed(seed)
        num_blocks = [-(-length // kind.block_tokens) for length in lengths]
        order = torch.randperm(sum(num_blocks) + 2, generator=draw, dtype=torch.int32)
        table_BM = order[-1].repeat(len(lengths), max(num_blocks) + 1)
        shape = (len(order), kind.block_tokens, kind.num_kv_heads)
        k = torch.full((*shape, kind.head_dim), torch.nan)
        v = torch.full((*shape, kind.v_head_dim), torch.nan)
        for row, length, own in zip(
            table_BM, lengths, torch.split(order, [*num_blocks, 2]), strict=False
        ):
            row[: len(own)] = own
            at = own.long().repeat_interleave(kind.block_tokens)[:length]
            offset = torch.arange(length) % kind.block_tokens
            k[at, offset] = torch.randn(length, *shape[2:], kind.head_dim, generator=draw)
            v[at, offset] = torch.randn(length, *shape[2:], kind.v_head_dim, generator=draw)
        sinks_H = torch.randn(kind.num_heads, generator=draw) if kind.sinks else None
        return Paged(
            kind,
            k.to(self.device, self.dtype),
            v.to(self.device, self.dtype),
            table_BM.to(self.device),
            None if sinks_H is None else sinks_H.to(self.device, self.dtype),
        )

    def workspace(self, kind: Kind, num_sequences: int) -> DecodeWorkspace:
        num_units = num_sequences * kind.num_kv_heads
        return DecodeWorkspace.allocate(
            num_units * kind.group * NUM_SPLITS,
            v_head_dim=kind.v_head_dim,
            num_units=num_units,
            device=torch.device(self.device),
        )

    def decode(
        self,
        q_BHD: Tensor,
        paged: Paged,
        kv_len_B: Sequence[int],
        workspace: DecodeWorkspace | None = None,
    ) -> Tensor:
        return attention_decode(
            q_BHD,
            paged.k_PZGD,
            paged.v_PZGD,
            paged.table_BM,
            torch.tensor(kv_len_B, dtype=torch.int32, device=self.device),
            num_splits=NUM_SPLITS,
            workspace=workspace or self.workspace(paged.kind, len(q_BHD)),
            **paged.options,
        )

    def cut(
        self, kind: Kind, new_B: Sequence[int], kv_len_B: Sequence[int], capacity: int | None = None
    ) -> QueryTiles:
        tile = prefill_tile(kind.head_dim, self.dtype, torch.device(self.device))
        return cut_queries(
            indptr(new_B), kv_len_B, max_rows=tile.rows // kind.group, capacity=capacity
        )

    def prefill(
        self, q_THD: Tensor, paged: Paged, new_B: Sequence[int], kv_len_B: Sequence[int]
    ) -> Tensor:
        queries = self.cut(paged.kind, new_B, kv_len_B).to(torch.device(self.device))
        return self.prefill_tiles(q_THD, paged, queries)

    def prefill_tiles(self, q_THD: Tensor, paged: Paged, queries: QueryTiles) -> Tensor:
        return attention_prefill(
            q_THD, paged.k_PZGD, paged.v_PZGD, paged.table_BM, queries, **paged.options
        )


def indptr(new_B: Sequence[int]) -> list[int]:
    return list(accumulate(new_B, initial=0))


def define(q_THD: Tensor, paged: Paged, new_B: Sequence[int], kv_len_B: Sequence[int]) -> Tensor:
    """The definition, on the numbers as they are stored."""
    return reference_attention.attention(
        q_THD,
        paged.k_PZGD,
        paged.v_PZGD,
        paged.table_BM,
        indptr_B1=indptr(new_B),
        kv_len_B=kv_len_B,
        **paged.options,
    )


INTERPRETED_RUNS = [
    pytest.param(Run("cpu", DTYPES[name]), id=f"interpreted-{name}", marks=interpreted)
    for name in ("fp32", "fp16")  # the interpreter multiplies the bits of bf16
]
COMPILED_RUNS = [
    pytest.param(Run("cuda", dtype), id=f"compiled-{name}", marks=[pytest.mark.gpu, compiled])
    for name, dtype in DTYPES.items()
]
RUNS = [*INTERPRETED_RUNS, *COMPILED_RUNS]
