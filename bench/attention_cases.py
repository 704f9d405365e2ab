"""Paged attention as cases, decode and prefill, beside SDPA on keys that lie in one piece."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor

from weft.kernels.attention_decode import DecodeWorkspace, attention_decode
from weft.kernels.attention_prefill import attention_prefill
from weft.kernels.attention_tiles import num_splits, prefill_tile
from weft.kernels.query_tiles import cut_queries

from .floors import Work
from .record import Value
from .row_cases import BLOCK_TOKENS
from .trials import OURS, TOLERANCE, Case, Trial, trial_of

DECODE, PREFILL = "attention_decode", "attention_prefill"
SDPA = "sdpa"
DECODES = ((1, 1024), (1, 32768), (32, 1024), (32, 4096), (32, 8192), (128, 1024))
PREFILLS = ((1, 512, 512), (1, 8192, 8192), (4, 2048, 2048), (1, 8192, 512))


@dataclass(frozen=True, slots=True)
class AttentionCell:
    """Equal sequences: `num_new` rows each behind `context - num_new` earlier keys."""

    op: str
    batch: int
    context: int
    num_new: int
    num_heads: int = 32  # of Llama-3.1-8B
    num_kv_heads: int = 8
    head_size: int = 128

    @property
    def group(self) -> int:
        return self.num_heads // self.num_kv_heads

    @property
    def scaling(self) -> float:
        return float(self.head_size**-0.5)

    def work(self, *, element_bytes: int) -> Work:
        """Keys, values and queries read, results written; every pair of row and key multiplied."""
        pairs = self.num_new * (self.context - self.num_new) + self.num_new * (self.num_new + 1) / 2
        rows, keys = self.batch * self.num_new, self.batch * self.context
        elements = 2 * self.head_size * (rows * self.num_heads + keys * self.num_kv_heads)
        return Work(
            num_bytes=element_bytes * elements,
            flops=4 * self.batch * pairs * self.num_heads * self.head_size,
        )

    def __str__(self) -> str:
        behind = f" behind {self.context - self.num_new}" if self.op == PREFILL else ""
        size = self.context if self.op == DECODE else self.num_new
        prefix = behind if self.num_new < self.context else ""
        return f"{self.op} {self.batch} x {size}{prefix}"


def attention_cells(*, small: bool) -> Iterator[AttentionCell]:
    """Those of an 8B model, or what an interpreter can run."""
    if small:
        yield AttentionCell(DECODE, 2, 19, 1, num_heads=4, num_kv_heads=2, head_size=16)
        yield AttentionCell(PREFILL, 2, 21, 5, num_heads=4, num_kv_heads=2, head_size=16)
        return
    for batch, context in DECODES:
        yield AttentionCell(DECODE, batch, context, 1)
    for batch, context, num_new in PREFILLS:
        yield AttentionCell(PREFILL, batch, context, num_new)


def make_attention_case(
    cell: AttentionCell, *, seed: int, device: torch.device, dtype: torch.dtype
) -> Case:
    """Draw queries, and keys in blocks whose order is random."""
    inputs = _Inputs(cell, seed=seed, device=device, dtype=dtype)
    wanted = inputs.define()
    work = cell.work(element_bytes=dtype.itemsize)
    ours = inputs.decode if cell.op == DECODE else inputs.prefill

    def make(prepare: Callable[[], Callable[[], Tensor]]) -> Trial:
        return trial_of(prepare(), wanted, work)

    parameters: dict[str, Value] = {
        "op": cell.op,
        "batch": cell.batch,
        "context": cell.context,
        "new": cell.num_new,
    }
    makers = {OURS: partial(make, ours), SDPA: partial(make, inputs.sdpa)}
    return Case(str(cell), parameters, TOLERANCE[dtype], makers)


class _Inputs:
    """Queries `[B, T, H, D]`; keys and values `[B, N, G, D]`, which the cache holds in blocks."""

    def __init__(
        self, cell: AttentionCell, *, seed: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        draw = torch.Generator(device).manual_seed(seed)

        def normal(num: int, heads: int) -> Tensor:
            shape = (cell.batch, num, heads, cell.head_size)
            return torch.randn(shape, generator=draw, device=device).to(dtype)

        self._cell = cell
        self._q_BTHD = normal(cell.num_new, cell.num_heads)
        self._k_BNGD, self._v_BNGD = (normal(cell.context, cell.num_kv_heads) for _ in range(2))
        self._blocks = -(-cell.context // BLOCK_TOKENS)
        order = torch.randperm(cell.batch * self._blocks, generator=draw, device=device)
        self._table_BM = order.view(cell.batch, self._blocks).int()
        self._k_cache, self._v_cache = map(self._store, (self._k_BNGD, self._v_BNGD))

    def decode(self) -> Callable[[], Tensor]:
        cell, device = self._cell, self._q_BTHD.device
        splits = num_splits(cell.num_kv_heads, device)
        workspace = DecodeWorkspace.allocate(
            cell.batch * cell.num_heads * splits,
            v_head_dim=cell.head_size,
            num_units=cell.batch * cell.num_kv_heads,
            device=device,
        )
        return partial(
            attention_decode,
            self._q_BTHD[:, 0],
            self._k_cache,
            self._v_cache,
            self._table_BM,
            torch.full((cell.batch,), cell.context, dtype=torch.int32, device=device),
            scaling=cell.scaling,
            num_splits=splits,
            workspace=workspace,
        )

    def prefill(self) -> Callable[[], Tensor]:
        cell, q_BTHD = self._cell, self._q_BTHD
        tile = prefill_tile(cell.head_size, q_BTHD.dtype, q_BTHD.device)
        queries = cut_queries(
            list(accumulate([cell.num_new] * cell.batch, initial=0)),
            [cell.context] * cell.batch,
            max_rows=tile.rows // cell.group,
        )
        return partial(
            attention_prefill,
            q_BTHD.flatten(0, 1),
            self._k_cache,
            self._v_cache,
            self._table_BM,
            queries.to(q_BTHD.device),
            scaling=cell.scaling,
        )

    def sdpa(self) -> Callable[[], Tensor]:
        """Its best case: nothing paged, nothing padded."""
        cell = self._cell
        q_BHTD, k_BGND, v_BGND = (
            x.transpose(1, 2).contiguous() for x in (self._q_BTHD, self._k_BNGD, self._v_BNGD)
        )
        is_causal = cell.num_new == cell.context
        mask = None if is_causal or cell.num_new == 1 else self._mask()

        def attend() -> Tensor:
            out_BHTD = F.scaled_dot_product_attention(
                q_BHTD, k_BGND, v_BGND, attn_mask=mask, is_causal=is_causal, enable_gqa=True
            )
            return out_BHTD.transpose(1, 2).flatten(0, 1)

        return attend

    def define(self) -> Tensor:
        """`[B · T, H, D]` in float64, a head at a time."""
        cell = self._cell
        out = torch.empty_like(self._q_BTHD, dtype=torch.float64)
        unseen = ~self._mask()
        for b in range(cell.batch):
            for h in range(cell.num_heads):
                k_ND, v_ND = (
                    x[b, :, h // cell.group].double() for x in (self._k_BNGD, self._v_BNGD)
                )
                scores = self._q_BTHD[b, :, h].double() @ k_ND.T * cell.scaling
                out[b, :, h] = scores.masked_fill_(unseen, -torch.inf).softmax(-1) @ v_ND
        return out.flatten(0, 1)

    def _mask(self) -> Tensor:
        """Which keys a new row sees, `[T, N]`."""
        key = torch.arange(self._cell.context, device=self._q_BTHD.device)
        return key <= key[self._cell.context - self._cell.num_new :, None]

    def _store(self, x_BNGD: Tensor) -> Tensor:
        """The cache `[P, Z, G, D]` that has these keys or values at the places of the table."""
        cell = self._cell
        filling = self._blocks * BLOCK_TOKENS - cell.context
        blocks_PZGD = F.pad(x_BNGD, (0, 0, 0, 0, 0, filling)).reshape(
            -1, BLOCK_TOKENS, cell.num_kv_heads, cell.head_size
        )
        cache_PZGD = torch.empty_like(blocks_PZGD)
        cache_PZGD[self._table_BM.flatten().long()] = blocks_PZGD
        return cache_PZGD
