"""Tile shapes and launch sizes of the Triton kernels: constants of a captured graph.

A tile regime is one `m_tile`: within it a row's bits do not depend on the rest of the batch.
"""

from dataclasses import dataclass

import torch

PROGRAMS_PER_SM = 4
INTERPRETED_PROGRAMS = 3  # fewer than most work lists, so that programs loop


@dataclass(frozen=True, slots=True)
class ShrinkTile:
    """One program's tile: `m_tile` rows, up to `block_r` ranks, steps of `block_k` in-features."""

    block_k: int
    block_r: int
    splits: int
    num_warps: int
    num_stages: int


@dataclass(frozen=True, slots=True)
class ExpandTile:
    """One program's tile: `m_tile` rows, `block_n` columns, steps of up to `block_r` ranks."""

    block_n: int
    block_r: int
    num_warps: int
    num_stages: int


SHRINK = {
    16: ShrinkTile(block_k=128, block_r=64, splits=8, num_warps=4, num_stages=3),
    64: ShrinkTile(block_k=64, block_r=128, splits=2, num_warps=8, num_stages=3),
    128: ShrinkTile(block_k=64, block_r=128, splits=1, num_warps=8, num_stages=3),
}
# One stage where a tile may use wgmma: ptxas < 13.3 miscompiles a pipelined wgmma fed from
# registers on sm_90, and v is rounded in registers (https://github.com/triton-lang/triton/issues/9433).
EXPAND = {
    16: ExpandTile(block_n=128, block_r=32, num_warps=4, num_stages=2),
    64: ExpandTile(block_n=64, block_r=64, num_warps=4, num_stages=1),
    128: ExpandTile(block_n=64, block_r=64, num_warps=8, num_stages=1),
}


def split_k(in_features: int, m_tile: int) -> int:
    """How many programs share one item's in-features: a constant of the site, never of the batch.

    Each split has at least two steps of `block_k`, as long as there are that many.
    """
    tile = SHRINK[m_tile]
    return max(1, min(tile.splits, in_features // (2 * tile.block_k)))


def num_programs(device: torch.device) -> int:
    """The size of a persistent grid."""
    if device.type != "cuda":
        return INTERPRETED_PROGRAMS
    return PROGRAMS_PER_SM * torch.cuda.get_device_properties(device).multi_processor_count
