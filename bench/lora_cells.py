"""The grid of `weft bench kernels`: which site, ranks and rows a cell of LoRA has. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from zlib import crc32

import numpy as np

from weft.kernels import Site

from .floors import Work, lora_work
from .popularity import Ints, draw_adapters

BASE = -1
"""The slot of a row without an adapter."""


def _sites(prefix: str, hidden: int, keys: int, intermediate: int) -> dict[str, Site]:
    return {
        f"{prefix}qkv": Site(hidden, (hidden, keys, keys), first=0),
        f"{prefix}o": Site(hidden, (hidden,), first=0),
        f"{prefix}gate_up": Site(hidden, (intermediate, intermediate), first=0),
        f"{prefix}down": Site(intermediate, (hidden,), first=0),
    }


P1_SITE = "p1"
CORE_SITES = {
    **_sites("", 4096, 1024, 14336),  # Llama-3.1-8B
    P1_SITE: Site(4096, (11008,), first=0),
}
MORE_SITES = {
    **_sites("1b_", 2048, 512, 8192),  # Llama-3.2-1B
    **_sites("70b_", 8192, 1024, 28672),  # Llama-3.1-70B on one device
    "sglang_qkv": Site(4096, (8192, 1024, 1024), first=0),  # of SGLang's csgmv README
    "sglang_gate_up": Site(4096, (12288, 12288), first=0),
    "sglang_down": Site(12288, (4096,), first=0),
}
SMALL_SITES = {  # for a machine without a GPU, where kernels are interpreted
    "small_qkv": Site(96, (64, 16, 16), first=0),
    "small_down": Site(160, (48,), first=0),
}
SITES = {**CORE_SITES, **MORE_SITES, **SMALL_SITES}

MIXED = (8, 16, 32, 64)
CORE_RANKS = ((16,), (64,), MIXED)
MORE_RANKS = ((8,), (32,), (128,), (12,))
CORE_LAWS = ("identical", "uniform", "distinct")
MORE_LAWS = ("zipf 1.0", "zipf 1.5", "skewed")


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of a step: decode rows first, prefill rows with adapters of their own behind them.

    Attributes:
        popularity: The law of the decode rows that have an adapter; their order is random.
        base_share: Of the decode rows, at random places.
        prefill_adapters: Each has prefill rows in one run, equal to one row.
    """

    decode_rows: int = 0
    popularity: str = "distinct"
    base_share: float = 0.0
    prefill_rows: int = 0
    prefill_adapters: int = 0

    @property
    def num_rows(self) -> int:
        return self.decode_rows + self.prefill_rows

    @property
    def has_prefill(self) -> bool:
        return self.prefill_rows > 0

    def draw_slots(self, seed: int) -> Ints:
        """The slot of every row, from 0 without a gap; -1 = a base row."""
        draw = np.random.default_rng([seed, crc32(str(self).encode())])
        decode_T = np.full(self.decode_rows, BASE, np.int32)
        num_adapted = self.decode_rows - round(self.base_share * self.decode_rows)
        places = np.sort(draw.permutation(self.decode_rows)[:num_adapted])
        decode_T[places] = draw_adapters(self.popularity, num_adapted, draw)
        first = decode_T.max(initial=BASE) + 1
        runs = np.arange(self.prefill_rows) * self.prefill_adapters // max(1, self.prefill_rows)
        return np.concatenate([decode_T, (first + runs).astype(np.int32)])

    def __str__(self) -> str:
        parts = []
        if self.decode_rows:
            base = f" {self.base_share:.0%} base" if self.base_share else ""
            parts.append(f"{self.decode_rows} {self.popularity}{base}")
        if self.prefill_rows:
            parts.append(f"{self.prefill_rows} prefill of {self.prefill_adapters}")
        return " + ".join(parts)


@dataclass(frozen=True, slots=True)
class LoraCell:
    """One cell of the grid.

    Attributes:
        site: A key of SITES.
        ranks: Of the slots, in turn; the same in every slice.
    """

    site: str
    ranks: tuple[int, ...]
    batch: Batch

    @property
    def shape(self) -> Site:
        return SITES[self.site]

    @property
    def rank_name(self) -> str:
        return f"r{self.ranks[0]}" if len(self.ranks) == 1 else "mixed"

    @property
    def is_core(self) -> bool:
        return self.site in CORE_SITES and self.ranks in CORE_RANKS and self.batch in CORE_BATCHES

    def rank_of(self, slot: int) -> int:
        return self.ranks[slot % len(self.ranks)]

    def draw_ranks(self, seed: int) -> tuple[int, ...]:
        """The rank of every slot that the rows use."""
        num_slots = int(self.batch.draw_slots(seed).max(initial=BASE)) + 1
        return tuple(map(self.rank_of, range(num_slots)))

    def work(self, seed: int, *, element_bytes: int) -> Work:
        """What shrink and expand of this cell cannot avoid."""
        slot_T = self.batch.draw_slots(seed)
        ranks_T = [self.rank_of(int(slot)) for slot in slot_T if slot != BASE]
        return lora_work(
            self.shape, self.draw_ranks(seed), ranks_T=ranks_T, element_bytes=element_bytes
        )

    def __str__(self) -> str:
        return f"{self.site} {self.rank_name} {self.batch}"


CORE_BATCHES = (
    Batch(1),
    *(Batch(rows, law) for rows, law in product((8, 32, 64, 128), CORE_LAWS)),
    *(Batch(32, law, base_share=0.5) for law in CORE_LAWS),
    Batch(prefill_rows=512, prefill_adapters=1),
    Batch(prefill_rows=8192, prefill_adapters=8),
)
MORE_BATCHES = (
    *(Batch(rows, law) for rows, law in product((2, 4, 16, 256), CORE_LAWS)),
    *(Batch(rows, law) for rows, law in product((8, 32, 64, 128), MORE_LAWS)),
    *(Batch(32, law, base_share=0.25) for law in CORE_LAWS),
    Batch(32, base_share=1.0),
    Batch(prefill_rows=2048, prefill_adapters=1),
    Batch(prefill_rows=2048, prefill_adapters=8),
    Batch(prefill_rows=8192, prefill_adapters=32),
    Batch(32, prefill_rows=2048, prefill_adapters=4),
)
SMALL_BATCHES = (
    Batch(5, "uniform", base_share=0.2),
    Batch(3, prefill_rows=18, prefill_adapters=2),
)
P1_CELL = LoraCell(P1_SITE, (16,), Batch(64))


def core_cells() -> Iterator[LoraCell]:
    """The cells that goals are stated for."""
    yield from _cross(CORE_SITES, CORE_RANKS, CORE_BATCHES)


def full_cells() -> Iterator[LoraCell]:
    """The core, and every cell that leaves it along one axis."""
    yield from core_cells()
    yield from _cross(MORE_SITES, CORE_RANKS, CORE_BATCHES)
    yield from _cross(CORE_SITES, MORE_RANKS, CORE_BATCHES)
    yield from _cross(CORE_SITES, CORE_RANKS, MORE_BATCHES)


def small_cells() -> Iterator[LoraCell]:
    """A few cells that an interpreter can run."""
    yield from _cross(SMALL_SITES, ((4,), (8, 16)), SMALL_BATCHES)


def _cross(
    sites: dict[str, Site], ranks: tuple[tuple[int, ...], ...], batches: tuple[Batch, ...]
) -> Iterator[LoraCell]:
    return (LoraCell(*axes) for axes in product(sites, ranks, batches))
