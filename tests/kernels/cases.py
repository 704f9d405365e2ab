"""Arenas with random adapters, the segment laws, and the ways to run the ops."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from weft.kernels import ALIGNMENT_BYTES, Arena, Segments, Site, group_rows, reference
from weft.kernels.expand import expand
from weft.kernels.shrink import shrink

Ints = npt.NDArray[np.integer]

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1e-2}
MAX_RANK = 256

QKV = Site(in_features=96, out_features=(80, 16, 32), first=1)
OUT = Site(in_features=80, out_features=(96,), first=4)
ODD = Site(in_features=67, out_features=(13, 1), first=5)
WIDE = Site(in_features=1290, out_features=(150,), first=7)  # five splits of two steps, one of one
NUM_SLICES = 8
SITES = {"qkv": QKV, "o": OUT, "odd": ODD, "wide": WIDE}

# Per slot, the ranks of qkv's three slices, of o, and of odd and wide.
RANKS = [
    (1, 4, 8, 12, 1),
    (16, 16, 16, 16, 16),
    (0, 24, 0, 0, 4),
    (64, 0, 12, 64, 24),
    (0, 0, 0, 8, 0),
    (8, 8, 8, 128, 8),
    (128, 1, 1, 1, 64),
    (256, 64, 12, 256, 128),
]


@dataclass(frozen=True, slots=True)
class Pair:
    """An adapter's matrices at one slice: A `[r, K]`, B `[r, n]`."""

    a_RK: Tensor
    b_RN: Tensor


def random_pairs(site: Site, ranks: Sequence[int], *, seed: int) -> list[Pair]:
    """A pair per slice, of magnitudes near 1 / √K and 1 / √r, so that deltas are near 1."""
    draw = torch.Generator().manual_seed(seed)
    return [
        Pair(
            torch.randn(r, site.in_features, generator=draw) / site.in_features**0.5,
            torch.randn(r, n, generator=draw) / max(1, r) ** 0.5,
        )
        for r, n in zip(ranks, site.out_features, strict=True)
    ]


class Loader:
    """Places matrices in an arena one behind another, as images do."""

    def __init__(
        self, dtype: torch.dtype, *, num_elements: int, num_slots: int, device: str
    ) -> None:
        self.arena = Arena(
            num_elements,
            num_slots=num_slots,
            num_slices=NUM_SLICES,
            dtype=dtype,
            device=device,
            max_rank=MAX_RANK,
        )
        self.end = 0

    def skip(self, num_elements: int) -> None:
        self.end += num_elements
        self.end += -self.end % (ALIGNMENT_BYTES // self.arena.data.itemsize)

    def place(self, matrix: Tensor) -> int:
        at = self.end
        self.arena.data[at : at + matrix.numel()] = matrix.flatten()
        self.skip(matrix.numel())
        return at

    def load(self, slot: int, pairs: dict[Site, list[Pair]]) -> None:
        """Write an adapter's matrices, A's before B's at every site, and then its row."""
        a_at, b_at = np.zeros((2, NUM_SLICES), np.int64)
        rank = np.zeros(NUM_SLICES, np.int32)
        for site, slices in pairs.items():
            rank[site.columns] = [len(pair.a_RK) for pair in slices]
            a_at[site.columns] = [self.place(pair.a_RK) for pair in slices]
            b_at[site.columns] = [self.place(pair.b_RN) for pair in slices]
        self.arena.write_row(slot, a_at, b_at, rank)


def adapter(slot: int, *, seed: int = 0) -> dict[Site, list[Pair]]:
    """The random adapter with the ranks of RANKS[slot]."""
    ranks = RANKS[slot]
    sites = {QKV: ranks[:3], OUT: ranks[3:4], ODD: (ranks[4], ranks[0]), WIDE: ranks[4:5]}
    return {
        site: random_pairs(site, own, seed=100 * seed + 10 * slot + i)
        for i, (site, own) in enumerate(sites.items())
    }


@cache
def loaded_arena(dtype: torch.dtype, device: str = "cpu") -> Arena:
    """An arena with an adapter in each slot of RANKS. It is shared: read it only."""
    loader = Loader(dtype, num_elements=600_000, num_slots=len(RANKS), device=device)
    for slot in range(len(RANKS)):
        loader.load(slot, adapter(slot))
    return loader.arena


def _law(name: str, num_rows: int, draw: np.random.Generator) -> Ints:
    slots = len(RANKS)
    match name:
        case "identical":
            return np.full(num_rows, 3)
        case "distinct":
            return draw.permutation(num_rows) % slots
        case "uniform":
            return draw.integers(0, slots, num_rows)
        case "zipf":
            return draw.zipf(1.5, num_rows) % slots
        case "skewed":
            return np.where(draw.random(num_rows) < 0.9, 7, draw.integers(0, slots, num_rows))
        case "with_base":
            return draw.integers(-2, slots, num_rows).clip(-1)
        case "empty":
            return np.full(num_rows, -1)
    raise AssertionError(name)


LAWS = ["identical", "distinct", "uniform", "zipf", "skewed", "with_base", "empty"]


def random_v(run: "Run", segments: Segments, site: Site, *, num_planes: int) -> Tensor:
    """Planes whose entries beyond each row's own ranks are NaN."""
    width = len(site.out_features) * MAX_RANK
    v = torch.full((num_planes, len(segments.order), width), torch.nan)
    draw = torch.Generator().manual_seed(0)
    for slot, start, stop in segments.spans:
        ranks = int(run.arena.table.row(slot, site).rank.sum())
        v[:, start:stop, :ranks] = torch.randn(num_planes, stop - start, ranks, generator=draw)
    return v.to(run.device)


def random_scaling(run: "Run") -> Tensor:
    """A factor per slot and column of the table."""
    draw = torch.Generator().manual_seed(7)
    return (torch.rand(len(RANKS), NUM_SLICES, generator=draw) + 0.5).to(run.device)


def slots_by_law(name: str, num_rows: int, *, seed: int = 0) -> Ints:
    """The slot of each row, popularity after `name`."""
    return _law(name, num_rows, np.random.default_rng(seed)).astype(np.int32)


def by_triton(y_TN: Tensor, x_TK: Tensor, segments: Segments, arena: Arena, site: Site) -> None:
    v = shrink(x_TK, segments, arena=arena.data, table=arena.table, site=site)
    expand(y_TN, v, segments, arena=arena.data, table=arena.table, site=site)


def by_add_lora(y_TN: Tensor, x_TK: Tensor, segments: Segments, arena: Arena, site: Site) -> None:
    arena.add_lora(y_TN, x_TK, segments, site)


def by_definition(y_TN: Tensor, x_TK: Tensor, segments: Segments, arena: Arena, site: Site) -> None:
    v = reference.shrink(x_TK, segments, arena=arena.data, table=arena.table, site=site)
    reference.expand(y_TN, v, segments, arena=arena.data, table=arena.table, site=site)


def relative_error(got: Tensor, want: Tensor) -> float:
    """‖got - want‖ / ‖want‖; NaN where anything is NaN."""
    norm = want.double().norm()
    error = (got.double() - want.double()).norm()
    return float(error / norm) if norm > 0 else float(error)


def assert_near(name: str, got: Tensor, want: Tensor, *, tolerance: float) -> None:
    error = relative_error(got, want)
    assert error <= tolerance, f"{name}: relative error {error:.2e} exceeds {tolerance:.0e}"


class Run(NamedTuple):
    """A way to run shrink and expand, with the device and dtype that it runs on."""

    add_lora: Callable[[Tensor, Tensor, Segments, Arena, Site], None]
    device: str
    dtype: torch.dtype

    @property
    def tolerance(self) -> float:
        return TOLERANCE[self.dtype]

    @property
    def arena(self) -> Arena:
        return loaded_arena(self.dtype, self.device)

    def random(self, *shape: int, seed: int = 0) -> Tensor:
        draw = torch.Generator().manual_seed(seed)
        return torch.randn(*shape, generator=draw).to(self.device, self.dtype)

    def group(self, slot_T: Ints, *, m_tile: int = 16) -> Segments:
        return group_rows(slot_T, m_tile=m_tile).to(self.device)

    def delta(self, x_TK: Tensor, slot_T: Ints, site: Site, *, m_tile: int = 16) -> Tensor:
        """What the adapters add to a zero output."""
        y_TN = x_TK.new_zeros(len(slot_T), sum(site.out_features))
        self.add_lora(y_TN, x_TK, self.group(slot_T, m_tile=m_tile), self.arena, site)
        return y_TN


interpreted = pytest.mark.skipif(not INTERPRETED, reason="needs TRITON_INTERPRET=1")
compiled = pytest.mark.skipif(
    INTERPRETED or not torch.cuda.is_available(),
    reason="needs a CUDA device and TRITON_INTERPRET=0",
)
INTERPRETED_RUNS = [
    pytest.param(Run(by_triton, "cpu", DTYPES[name]), id=f"interpreted-{name}", marks=interpreted)
    for name in ("fp32", "fp16")  # the interpreter multiplies the bits of bf16
]
COMPILED_RUNS = [
    pytest.param(
        Run(by_add_lora, "cuda", dtype), id=f"compiled-{name}", marks=[pytest.mark.gpu, compiled]
    )
    for name, dtype in DTYPES.items()
]
CPU_RUNS = [
    pytest.param(Run(by_add_lora, "cpu", dtype), id=f"cpu-{name}") for name, dtype in DTYPES.items()
]
TRITON_RUNS = [*INTERPRETED_RUNS, *COMPILED_RUNS]
RUNS = [*TRITON_RUNS, *CPU_RUNS]
