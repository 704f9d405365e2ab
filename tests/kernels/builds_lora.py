"""shrink and expand in every tile entry, on Llama-3.1-8B's qkv site."""

from collections.abc import Iterator

from weft.kernels.expand import expand_kernel
from weft.kernels.shrink import shrink_kernel
from weft.kernels.tiles import EXPAND, SHRINK

from .build import Build, Constant

TYPES = {
    "x_ptr": "*bf16", "y_ptr": "*bf16", "a_ptr": "*bf16", "b_ptr": "*bf16", "v_ptr": "*fp32",
    "order_ptr": "*i32", "items_ptr": "*i32", "counts_ptr": "*i32",
    "at_ptr": "*i64", "scaling_ptr": "*fp32", "rank_ptr": "*i32",
}  # fmt: skip
UNSPECIALISED = frozenset({"first_slice", "stride_plane"})


def builds() -> Iterator[Build]:
    for m_tile, tile in SHRINK.items():
        constants: dict[str, Constant] = {
            "NUM_SLICES": 3, "OWN_COLUMNS": (), "scaling_ptr": None,
            "SPLIT_K": tile.splits, "BLOCK_T": m_tile,
            "BLOCK_K": tile.block_k, "BLOCK_R": tile.block_r,
        }  # fmt: skip
        yield Build(
            f"shrink {m_tile}", shrink_kernel, TYPES, UNSPECIALISED, constants,
            tile.num_warps, tile.num_stages,
        )  # fmt: skip
    for m_tile, wide in EXPAND.items():
        constants = {
            "NUM_SLICES": 3, "OWN_COLUMNS": (4096, 1024, 1024), "NUM_TILES": 6144 // wide.block_n,
            "SPLIT_K": SHRINK[m_tile].splits, "BLOCK_T": m_tile,
            "BLOCK_N": wide.block_n, "BLOCK_R": wide.block_r,
        }  # fmt: skip
        yield Build(
            f"expand {m_tile}", expand_kernel, TYPES, UNSPECIALISED, constants,
            wide.num_warps, wide.num_stages,
        )  # fmt: skip
