"""Tile shapes and launch sizes of the Triton kernels: constants of a captured graph.

A tile regime is one `m_tile`: within it a row's bits do not depend on the rest of the batch.

None of the rows below is measured: all are chosen by bytes and by what the compiler reports. An SM
of an H200 (132 of them, 4.3 TB/s, some 0.7 µs to memory) needs about 23 KB in flight.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

INTERPRETED_PROGRAMS = 3  # fewer than most work lists, so that programs loop
REGISTERS_PER_SM = 65_536
SPLIT_STEP = 128  # in-features; a split is a number of them


@dataclass(frozen=True, slots=True)
class ShrinkTile:
    """One program's tile: `m_tile` rows, up to `block_r` ranks, steps of `block_k` in-features.

    `block_k` divides SPLIT_STEP.
    """

    block_k: int
    block_r: int
    num_warps: int
    num_stages: int
    programs_per_sm: int

    @property
    def max_registers(self) -> int:
        return max_registers(self.num_warps, self.programs_per_sm)


@dataclass(frozen=True, slots=True)
class ExpandTile:
    """One program's tile: `m_tile` rows, `block_n` columns, up to `strip` of them one by one."""

    block_n: int
    strip: int
    num_warps: int
    num_stages: int
    programs_per_sm: int

    @property
    def max_registers(self) -> int:
        return max_registers(self.num_warps, self.programs_per_sm)


@dataclass(frozen=True, slots=True)
class OuterTile:
    """One program's tile: up to `block_r` ranks, `block_k` columns, runs of `block_t` tokens."""

    block_t: int
    block_r: int
    block_k: int
    num_warps: int
    num_stages: int
    programs_per_sm: int


def max_registers(num_warps: int, programs_per_sm: int) -> int:
    """Of a thread, so that all programs of a persistent grid run at once."""
    return min(255, REGISTERS_PER_SM // (32 * num_warps * programs_per_sm) // 8 * 8)


@dataclass(frozen=True, slots=True)
class Splits:
    """How far an item's in-features are divided: into at most `most`, of `steps` or more steps."""

    most: int
    steps: int


SPLITS = {
    # 16 programs an item at K = 4096, 28 at 14336: eight items fill the chip, and both steps of a
    # split are in flight at once. A row's planes are 64 bytes a rank in each strip of expand, from
    # L2, where that rank of B has 1,024.
    16: Splits(most=32, steps=2),
    # Eight items (512 rows) give 32 programs; a row's planes are 16 bytes a rank in each strip.
    64: Splits(most=4, steps=4),
    # For thousands of rows: the items alone fill the chip.
    128: Splits(most=1, steps=1),
}
SHRINK = {
    # Not measured. r16, three slices: 24 KB of A per program, four programs an SM.
    16: ShrinkTile(block_k=128, block_r=64, num_warps=4, num_stages=3, programs_per_sm=4),
    # Not measured. In flight per SM: 64 KB in two programs, 48 KB in one.
    64: ShrinkTile(block_k=64, block_r=64, num_warps=4, num_stages=3, programs_per_sm=2),
    128: ShrinkTile(block_k=64, block_r=64, num_warps=8, num_stages=3, programs_per_sm=1),
}
EXPAND = {
    # Not measured. r16: two of a strip's four tiles in flight, 27 KB in three programs, y included.
    16: ExpandTile(block_n=128, strip=512, num_warps=4, num_stages=3, programs_per_sm=3),
    # Not measured. Without pipelining: 20 and 18 KB a program at r16, most of it y.
    64: ExpandTile(block_n=128, strip=512, num_warps=8, num_stages=1, programs_per_sm=1),
    128: ExpandTile(block_n=64, strip=512, num_warps=8, num_stages=1, programs_per_sm=1),
}
# Not measured. 56k registers a program, and two stages of 24 KB in flight.
OUTER = OuterTile(block_t=64, block_r=32, block_k=128, num_warps=8, num_stages=3, programs_per_sm=1)


Shape = tuple[int, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Tiles:
    """The tiles of each site's shape in each regime: of SHRINK and EXPAND where none was chosen.

    Attributes:
        shrink: By in-features, out-features of the slices, and `m_tile`; so is `expand`.
    """

    shrink: Mapping[tuple[Shape, int], ShrinkTile] = field(default_factory=dict)
    expand: Mapping[tuple[Shape, int], ExpandTile] = field(default_factory=dict)

    def for_shrink(self, shape: Shape, m_tile: int) -> ShrinkTile:
        return self.shrink.get((shape, m_tile), SHRINK[m_tile])

    def for_expand(self, shape: Shape, m_tile: int) -> ExpandTile:
        return self.expand.get((shape, m_tile), EXPAND[m_tile])


def split_k(in_features: int, m_tile: int) -> int:
    """How many programs share one item's in-features: a constant of the site, never of the batch.

    Every split holds something, each but the last the same number of steps.
    """
    limit = SPLITS[m_tile]
    num_steps = max(1, -(-in_features // SPLIT_STEP))
    return -(-num_steps // max(limit.steps, -(-num_steps // limit.most)))


def num_programs(device: torch.device, per_sm: int) -> int:
    """The size of a persistent grid."""
    if device.type != "cuda":
        return INTERPRETED_PROGRAMS
    return per_sm * torch.cuda.get_device_properties(device).multi_processor_count
