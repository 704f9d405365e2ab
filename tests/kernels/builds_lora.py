"""shrink and expand in every tile entry, on Llama-3.1-8B's qkv site.

The candidates of expand differ in their strips only: the same tile.
"""

from collections.abc import Iterator

from weft.kernels.expand import expand_kernel
from weft.kernels.shrink import shrink_kernel
from weft.kernels.tiles import EXPAND, SHRINK, SPLIT_STEP, ExpandTile, ShrinkTile, split_k
from weft.kernels.tune import SHRINK_CANDIDATES

from .build import Build, Constant

TYPES = {
    "x_ptr": "*bf16", "y_ptr": "*bf16", "a_ptr": "*bf16", "b_ptr": "*bf16", "v_ptr": "*fp32",
    "order_ptr": "*i32", "items_ptr": "*i32", "counts_ptr": "*i32",
    "at_ptr": "*i64", "scaling_ptr": "*fp32", "rank_ptr": "*i32",
}  # fmt: skip
UNSPECIALISED = frozenset({"first_slice", "stride_plane"})
COLUMNS = (4096, 1024, 1024)


def builds() -> Iterator[Build]:
    for m_tile, tile in SHRINK.items():
        yield build_shrink(f"shrink {m_tile}", m_tile, tile)
    for m_tile, wide in EXPAND.items():
        yield build_expand(f"expand {m_tile}", m_tile, wide)
    for m_tile, candidates in SHRINK_CANDIDATES.items():
        for i, tile in enumerate(candidates[1:], 1):
            yield build_shrink(f"shrink {m_tile} candidate {i}", m_tile, tile)
    yield build_shrink("shrink 16 overlap", 16, SHRINK[16], overlap=True)
    yield build_expand("expand 16 overlap", 16, EXPAND[16], overlap=True)


def build_shrink(name: str, m_tile: int, tile: ShrinkTile, *, overlap: bool = False) -> Build:
    constants: dict[str, Constant] = {
        "NUM_SLICES": 3, "OWN_COLUMNS": (), "scaling_ptr": None,
        "SPLIT_K": split_k(4096, m_tile), "SPLIT_STEP": SPLIT_STEP, "BLOCK_T": m_tile,
        "BLOCK_K": tile.block_k, "BLOCK_R": tile.block_r, "OVERLAP": overlap,
    }  # fmt: skip
    options: dict[str, Constant] = {"maxnreg": tile.max_registers}
    return Build(
        name, shrink_kernel, TYPES, UNSPECIALISED, constants,
        tile.num_warps, tile.num_stages, options, least=90 if overlap else 80,
    )  # fmt: skip


def build_expand(name: str, m_tile: int, tile: ExpandTile, *, overlap: bool = False) -> Build:
    constants: dict[str, Constant] = {
        "NUM_SLICES": 3, "OWN_COLUMNS": COLUMNS, "NUM_STRIPS": sum(COLUMNS) // tile.strip,
        "SPLIT_K": split_k(4096, m_tile), "BLOCK_T": m_tile,
        "BLOCK_N": tile.block_n, "STRIP": tile.strip, "NUM_STAGES": tile.num_stages,
        "OVERLAP": overlap,
    }  # fmt: skip
    options: dict[str, Constant] = {"maxnreg": tile.max_registers, "launch_pdl": overlap}
    return Build(
        name, expand_kernel, TYPES, UNSPECIALISED, constants,
        tile.num_warps, 1, options, least=90 if overlap else 80,
    )  # fmt: skip
