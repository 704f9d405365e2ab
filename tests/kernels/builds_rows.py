"""The row ops in the shapes of Llama-3.1-8B, and of families that differ from it; the draw."""

from collections.abc import Iterator

from weft.kernels.activation import BLOCK_K, glu_kernel
from weft.kernels.activation import NUM_WARPS as GLU_WARPS
from weft.kernels.gumbel_max import BLOCK_G, gumbel_max_kernel
from weft.kernels.gumbel_max import NUM_WARPS as DRAW_WARPS
from weft.kernels.norm import rmsnorm_kernel, rmsnorm_tile
from weft.kernels.quantise import E4M3, quantise_kernel
from weft.kernels.reference_quantise import LARGEST, SMALLEST
from weft.kernels.rope import NUM_WARPS as ROPE_WARPS
from weft.kernels.rope import block_heads, rope_kernel

from .build import Build, Constant

TYPES = {
    "x_ptr": "*bf16", "residual_ptr": "*bf16", "weight_ptr": "*bf16", "y_ptr": "*bf16",
    "q_ptr": "*bf16", "k_ptr": "*bf16", "v_ptr": "*bf16", "cos_ptr": "*bf16", "sin_ptr": "*bf16",
    "k_cache_ptr": "*bf16", "v_cache_ptr": "*bf16",
    "scores_ptr": "*fp32", "best_ptr": "*fp32", "seed_ptr": "*i64", "position_ptr": "*i64",
    "token_ptr": "*i64",
    "q8_ptr": "*fp8e4nv", "scale_ptr": "*fp32",
    "positions_ptr": "*i64", "cache_index_ptr": "*i64", "eps": "fp32",
}  # fmt: skip
UNSPECIALISED = frozenset({"num_rows", "eps", "X"})

# Registers of a thread, at most.
REGISTERS = {
    "add_rmsnorm 4096": 40,
    "rmsnorm 16384": 64,
    "rmsnorm 128 per head": 40,
    "glu silu": 40,
    "glu gelu": 40,
    "glu gelu_tanh": 40,
    "rope": 40,
    "rope interleaved": 40,
    "quantise 4096": 40,
    "quantise 14336": 64,
}
# Loads narrower than 16 bytes: the index and the position of a row, and the weights of short rows.
NARROW_LOADS = {"rope": 2, "rope interleaved": 2, "rmsnorm 128 per head": 1}


def builds() -> Iterator[Build]:
    yield build_norm("add_rmsnorm 4096", 1, 4096, add=True, one=False, round_first=True)
    yield build_norm("rmsnorm 16384", 1, 16384, add=False, one=True, round_first=False)
    yield build_norm("rmsnorm 128 per head", 8, 128, add=False, one=False, round_first=True)
    for activation in ("silu", "gelu", "gelu_tanh"):
        constants = {"K": 14336, "ACTIVATION": activation, "BLOCK_K": BLOCK_K}
        yield Build(f"glu {activation}", glu_kernel, TYPES, UNSPECIALISED, constants, GLU_WARPS, 1)
    yield build_quantise("quantise 4096", 4096)
    yield build_quantise("quantise 14336", 14336)
    yield build_rope("rope", interleaved=False)
    yield build_rope("rope interleaved", interleaved=True)
    tile = {"BLOCK_G": BLOCK_G}
    yield Build("gumbel_max", gumbel_max_kernel, TYPES, UNSPECIALISED, tile, DRAW_WARPS, 1)


def build_norm(
    name: str, heads: int, width: int, *, add: bool, one: bool, round_first: bool
) -> Build:
    tile = rmsnorm_tile(width)
    num_warps = tile.pop("num_warps")
    constants: dict[str, Constant] = {
        "H": heads, "K": width, "ADD_ONE": one, "ROUND_FIRST": round_first, **tile
    }  # fmt: skip
    if not add:
        constants["residual_ptr"] = None
    return Build(name, rmsnorm_kernel, TYPES, UNSPECIALISED, constants, num_warps, 1)


def build_quantise(name: str, width: int) -> Build:
    tile = rmsnorm_tile(width)
    num_warps = tile.pop("num_warps")
    constants = {"K": width, "LARGEST": LARGEST[E4M3], "SMALLEST": SMALLEST, **tile}
    return Build(name, quantise_kernel, TYPES, UNSPECIALISED, constants, num_warps, 1, least=90)


def build_rope(name: str, *, interleaved: bool) -> Build:
    constants = {
        "H": 32, "G": 8, "D": 128, "DV": 128, "E": 64,
        "INTERLEAVED": interleaved, "IN_FP32": interleaved, "BLOCK_H": block_heads(128),
    }  # fmt: skip
    return Build(name, rope_kernel, TYPES, UNSPECIALISED, constants, ROPE_WARPS, 1)
