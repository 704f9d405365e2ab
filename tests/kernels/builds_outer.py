"""The backward of LoRA, on Llama-3.1-8B's qkv site: outer, and shrink and expand the other way."""

from collections.abc import Iterator

from weft.kernels.expand import expand_kernel
from weft.kernels.outer import outer_kernel
from weft.kernels.shrink import shrink_kernel
from weft.kernels.tiles import EXPAND, OUTER, SHRINK, SPLIT_STEP, split_k

from .build import Build, Constant
from .builds_lora import COLUMNS, TYPES, UNSPECIALISED

ROWS = 64
OUTER_TYPES = TYPES | {"g_ptr": "*fp32", "slot_ptr": "*i32", "indptr_ptr": "*i32"}


def builds() -> Iterator[Build]:
    yield build_shrink()
    yield build_expand()
    yield build_outer("outer, half A", ())
    yield build_outer("outer, half B", COLUMNS)


def build_shrink() -> Build:
    tile = SHRINK[ROWS]
    constants: dict[str, Constant] = {
        "NUM_SLICES": 3, "OWN_COLUMNS": COLUMNS, "SPLIT_K": split_k(max(COLUMNS), ROWS),
        "SPLIT_STEP": SPLIT_STEP, "BLOCK_T": ROWS, "BLOCK_K": tile.block_k,
        "BLOCK_R": tile.block_r, "OVERLAP": False,
    }  # fmt: skip
    options: dict[str, Constant] = {"maxnreg": tile.max_registers}
    return Build(
        "shrink 64, half B", shrink_kernel, TYPES, UNSPECIALISED, constants,
        tile.num_warps, tile.num_stages, options,
    )  # fmt: skip


def build_expand() -> Build:
    tile = EXPAND[ROWS]
    constants: dict[str, Constant] = {
        "NUM_SLICES": 3, "OWN_COLUMNS": (), "NUM_STRIPS": 4096 // tile.strip,
        "SPLIT_K": split_k(max(COLUMNS), ROWS), "BLOCK_T": ROWS, "BLOCK_N": tile.block_n,
        "STRIP": tile.strip, "NUM_STAGES": tile.num_stages, "OVERLAP": False,
    }  # fmt: skip
    options: dict[str, Constant] = {"maxnreg": tile.max_registers}
    return Build(
        "expand 64, half A", expand_kernel, TYPES, UNSPECIALISED, constants,
        tile.num_warps, 1, options,
    )  # fmt: skip


def build_outer(name: str, own_columns: tuple[int, ...]) -> Build:
    constants: dict[str, Constant] = {
        "NUM_SLICES": 3, "OWN_COLUMNS": own_columns, "SPLIT_K": split_k(4096, ROWS),
        "NUM_TILES": (sum(own_columns) or 4096) // OUTER.block_k, "BLOCK_T": OUTER.block_t,
        "BLOCK_K": OUTER.block_k, "BLOCK_R": OUTER.block_r,
    }  # fmt: skip
    return Build(
        name, outer_kernel, OUTER_TYPES, UNSPECIALISED, constants, OUTER.num_warps, OUTER.num_stages
    )  # fmt: skip
