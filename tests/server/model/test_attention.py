"""Attention over the paged cache, on either path, equals a loop over rows in float64."""

import subprocess
import sys
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from weft.server.model.attention import AttentionPath, PagedAttention, choose_path
from weft.server.model.attention_cpu import CpuAttention
from weft.server.model.attention_kernels import KernelAttention
from weft.server.model.batch import ModelBatch
from weft.server.model.kv_cache import AttentionLayer, KVCache

from .stepping import interpreted

CPU = torch.device("cpu")
NUM_BLOCKS, BLOCK_TOKENS = 64, 4
FULL = AttentionLayer(
    index=0,
    num_heads=4,
    num_kv_heads=2,
    head_dim=8,
    v_head_dim=8,
    scaling=0.3,
    window=None,
    softcap=None,
    sinks=False,
)


def variant(**changes: object) -> AttentionLayer:
    fields = {name: getattr(FULL, name) for name in FULL.__slots__}
    return AttentionLayer(**(fields | changes))


LAYERS = {
    "full": FULL,
    "window": variant(window=3),
    "softcap": variant(softcap=2.0),
    "sinks": variant(sinks=True),
    "window-softcap-sinks": variant(window=5, softcap=2.0, sinks=True),
    "one-kv-head": variant(num_kv_heads=1),
    "narrow-values": variant(v_head_dim=4),
}
# (new rows, keys) of each sequence
STEPS = {
    "decodes": [(1, 1), (1, 9), (1, 10), (1, 9)],
    "decodes-of-many-lengths": [(1, 30), (1, 2), (1, 29), (1, 28), (1, 3)],
    "first-chunk": [(7, 7)],
    "later-chunk": [(5, 13)],
    "mixed": [(1, 8), (6, 6), (1, 17), (3, 20), (1, 16)],
}


class Layer(nn.Module):
    layer_idx = 0


class Mode(NamedTuple):
    """A path with a dtype that it serves here; the interpreter knows no bf16."""

    kernels: bool
    dtype: torch.dtype
    tolerance: float

    def path(self, layer: AttentionLayer) -> AttentionPath:
        return (
            KernelAttention((layer,), self.dtype, CPU) if self.kernels else CpuAttention(self.dtype)
        )


MODES = [
    pytest.param(Mode(False, torch.float32, 1e-6), id="cpu-fp32"),
    pytest.param(Mode(False, torch.bfloat16, 2e-2), id="cpu-bf16"),
    pytest.param(Mode(True, torch.float32, 1e-6), id="kernels-fp32", marks=interpreted),
]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("mode", MODES)
def test_equals_loop_over_rows(step: str, kind: str, mode: Mode) -> None:
    layer, lengths = LAYERS[kind], STEPS[step]
    batch, cache, written = make_step(layer, lengths, mode.dtype)
    q, k, v = (torch.cat(parts) for parts in zip(*[rows[:3] for rows in written], strict=True))
    sinks_H = torch.linspace(-1, 1, layer.num_heads) if layer.sinks else None
    out = attend(mode, layer, batch, cache, (q, k, v), sinks_H)
    expected = torch.cat(
        [attend_loop(rows[0], rows[3], rows[4], layer, sinks_H) for rows in written]
    )
    assert out.isfinite().all()
    assert (out.double() - expected).norm() / expected.norm() < mode.tolerance


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("lengths", [[(1, 9), (1, 10)], [(1, 9), (4, 10)]], ids=["decode", "mixed"])
def test_row_does_not_depend_on_another_sequences_overflow(
    mode: Mode, lengths: list[tuple[int, int]]
) -> None:
    batch, cache, written = make_step(FULL, lengths, mode.dtype)
    q, k, v = (torch.cat(parts) for parts in zip(*[rows[:3] for rows in written], strict=True))
    clean = attend(mode, FULL, batch, cache, (q, k, v), None)
    v[1] = float("inf")
    k[1] = float("nan")
    with np.errstate(invalid="ignore"):
        out = attend(mode, FULL, batch, cache, (q, k, v), None)
    assert torch.equal(out[0], clean[0])
    assert not out[1].isfinite().any()


def test_path_of_a_cpu_is_its_own() -> None:
    assert isinstance(choose_path((FULL,), torch.float32, CPU), CpuAttention)


def test_nothing_but_the_path_of_a_cpu_needs_numba() -> None:
    code = (
        "import sys; import weft.kernels.training, weft.server.model.attention; "
        "sys.exit('numba' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_path_of_a_gpu_is_the_kernels() -> None:
    chosen = choose_path((FULL,), torch.float32, torch.device("cuda"))
    assert isinstance(chosen, KernelAttention)


def make_step(
    layer: AttentionLayer, lengths: Sequence[tuple[int, int]], dtype: torch.dtype
) -> tuple[ModelBatch, KVCache, list[tuple[Tensor, ...]]]:
    """A step and its cache, NaN wherever no earlier key lies.

    Then per sequence q, k, v of the new rows, and all its keys and values.
    """
    torch.manual_seed(0)
    cache = KVCache(
        [layer], num_blocks=NUM_BLOCKS, block_tokens=BLOCK_TOKENS, dtype=dtype, device="cpu"
    )
    cache.k[0].fill_(float("nan"))
    cache.v[0].fill_(float("nan"))
    table_BM = torch.randperm(NUM_BLOCKS)[: len(lengths) * 8].view(-1, 8).int()
    index_T: list[Tensor] = []
    written: list[tuple[Tensor, ...]] = []
    for sequence, (new, total) in enumerate(lengths):
        position = torch.arange(total)
        index = (
            table_BM[sequence, position // BLOCK_TOKENS] * BLOCK_TOKENS + position % BLOCK_TOKENS
        )
        q = torch.randn(new, layer.num_heads, layer.head_dim).to(dtype)
        keys = torch.randn(total, layer.num_kv_heads, layer.head_dim).to(dtype)
        values = torch.randn(total, layer.num_kv_heads, layer.v_head_dim).to(dtype)
        old = index[: total - new]
        cache.k[0].view(-1, *keys.shape[1:])[old] = keys[: total - new]
        cache.v[0].view(-1, *values.shape[1:])[old] = values[: total - new]
        index_T.append(index[total - new :].long())
        written.append((q, keys[total - new :], values[total - new :], keys, values))
    empty = torch.empty(0, dtype=torch.int64)
    batch = ModelBatch(
        tokens_T=empty,
        positions_T=empty,
        cache_index_T=torch.cat(index_T),
        indptr_B1=list(accumulate((new for new, _ in lengths), initial=0)),
        kv_len_B=[total for _, total in lengths],
        block_table_BM=table_BM,
        logit_rows=empty,
    )
    return batch, cache, written


def attend(
    mode: Mode,
    layer: AttentionLayer,
    batch: ModelBatch,
    cache: KVCache,
    qkv: tuple[Tensor, Tensor, Tensor],
    sinks_H: Tensor | None,
) -> Tensor:
    attention = PagedAttention((layer,), mode.path(layer))
    attention.begin(batch, cache)
    q, k, v = (rows.transpose(0, 1)[None] for rows in qkv)
    out, _ = attention.attend(Layer(), q, k, v, s_aux=sinks_H)
    attention.end()
    return out[0]


def attend_loop(
    q: Tensor, keys: Tensor, values: Tensor, layer: AttentionLayer, sinks_H: Tensor | None
) -> Tensor:
    """The definition, row by row and head by head: `[rows, H, Dv]`, float64."""
    heads_per_group = layer.num_heads // layer.num_kv_heads
    out = torch.empty(len(q), layer.num_heads, layer.v_head_dim, dtype=torch.float64)
    for row in range(len(q)):
        last = len(keys) - len(q) + row
        first = 0 if layer.window is None else max(0, last + 1 - layer.window)
        for head in range(layer.num_heads):
            group = head // heads_per_group
            scores = keys[first : last + 1, group].double() @ q[row, head].double() * layer.scaling
            if layer.softcap is not None:
                scores = layer.softcap * (scores / layer.softcap).tanh()
            if sinks_H is not None:
                scores = torch.cat([scores, sinks_H[head : head + 1].double()])
            weights = scores.softmax(0)[: last + 1 - first]
            out[row, head] = weights @ values[first : last + 1, group].double()
    return out
