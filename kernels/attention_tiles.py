"""Tile shapes and split counts of the attention kernels: constants of a captured graph.

None has been measured. They are chosen by bytes, registers and shared memory of the builds for
sm_80, sm_90 and sm_100, in bf16, without a spill; the tests compile every row.

A table is keyed by the bytes of a padded head: 128 is a bf16 head of 64. Blocks are found through
a load of their numbers, which the compiler's pipeline counts as a level of its own: five stages are
two of keys and values.
"""

from dataclasses import dataclass

import torch
import triton

MAX_HEAD_DIM = 256
MIN_HEAD_BYTES = 128
MAX_SPLITS = 64
INTERPRETED_SPLITS = 3


@dataclass(frozen=True, slots=True)
class DecodeTile:
    """Steps of `block_n` keys; a split has at least `min_steps`, or all keys of its sequence."""

    block_n: int
    min_steps: int
    num_warps: int
    num_stages: int


@dataclass(frozen=True, slots=True)
class PrefillTile:
    """`rows` query rows, tokens times the heads of a group, by steps of `block_n` keys."""

    rows: int
    block_n: int
    num_warps: int
    num_stages: int


# A step is 32 KiB of keys and values. Two in flight in each of three programs per SM are 6 times
# what 4.3 TB/s of 1 µs latency over 132 SMs need; a split of two steps writes 1/16 of what it reads
# for four heads of 128, and less the longer it is.
DECODE = {
    128: DecodeTile(block_n=128, min_steps=2, num_warps=4, num_stages=5),
    256: DecodeTile(block_n=64, min_steps=2, num_warps=4, num_stages=5),
    512: DecodeTile(block_n=32, min_steps=2, num_warps=4, num_stages=5),
    1024: DecodeTile(block_n=16, min_steps=2, num_warps=4, num_stages=5),
}
# Two warp groups of 64 rows each. 128 rows read a step of 32 KiB per 4.2 MFLOP: 4 TB/s from the L2
# at 500 TFLOP/s, where 64 rows would ask for 8. With 64 keys of a 256 head ptxas spills.
PREFILL = {
    128: PrefillTile(rows=128, block_n=64, num_warps=8, num_stages=5),
    256: PrefillTile(rows=128, block_n=64, num_warps=8, num_stages=5),
    512: PrefillTile(rows=128, block_n=32, num_warps=8, num_stages=5),
    1024: PrefillTile(rows=64, block_n=16, num_warps=8, num_stages=3),
}
# mma.sync keeps queries and weights in registers: with 128 rows ptxas spills.
PREFILL_SM80 = PREFILL | {
    256: PrefillTile(rows=64, block_n=64, num_warps=8, num_stages=5),
    512: PrefillTile(rows=64, block_n=32, num_warps=8, num_stages=5),
}


def padded(head_dim: int) -> int:
    """The width of a head in registers: a power of two, as tiles are, and wide enough for a dot."""
    width: int = triton.next_power_of_2(head_dim)
    return max(16, width)


def decode_tile(head_dim: int, dtype: torch.dtype) -> DecodeTile:
    return DECODE[_head_bytes(head_dim, dtype)]


def prefill_tile(head_dim: int, dtype: torch.dtype, device: torch.device) -> PrefillTile:
    """The tile for the wider of the heads of keys and of values."""
    ampere = device.type == "cuda" and torch.cuda.get_device_capability(device)[0] == 8
    return (PREFILL_SM80 if ampere else PREFILL)[_head_bytes(head_dim, dtype)]


def num_splits(num_kv_heads: int, device: torch.device) -> int:
    """Into how many splits a sequence is cut at most: one sequence alone fills the SMs once."""
    if device.type != "cuda":
        return INTERPRETED_SPLITS
    sms = torch.cuda.get_device_properties(device).multi_processor_count
    return max(1, min(MAX_SPLITS, sms // num_kv_heads))


def _head_bytes(head_dim: int, dtype: torch.dtype) -> int:
    if head_dim > MAX_HEAD_DIM:
        raise ValueError(f"head_dim {head_dim} exceeds the {MAX_HEAD_DIM} of the attention kernels")
    return max(MIN_HEAD_BYTES, padded(head_dim) * dtype.itemsize)
