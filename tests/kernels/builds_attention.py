"""Paged attention in the shapes of Llama-3.1-8B, gpt-oss and gemma2, and one with all options."""

from collections.abc import Iterator
from typing import NamedTuple

import torch

from weft.kernels.attention_decode import attention_decode_kernel
from weft.kernels.attention_prefill import attention_prefill_kernel
from weft.kernels.attention_tiles import PREFILL_SM80, decode_tile, padded, prefill_tile

from .build import Build, Constant

TYPES = {
    "out_ptr": "*bf16", "q_ptr": "*bf16", "k_ptr": "*bf16", "v_ptr": "*bf16", "sinks_ptr": "*bf16",
    "table_ptr": "*i32", "kv_len_ptr": "*i32", "items_ptr": "*i32", "counts_ptr": "*i32",
    "sums_ptr": "*fp32", "scales_ptr": "*fp32", "tickets_ptr": "*i32", "scaling": "fp32",
}  # fmt: skip
UNSPECIALISED = frozenset({"stride_table", "scaling"})
ANYWHERE = torch.device("cpu")  # no sm_80


class Layer(NamedTuple):
    name: str
    head_dim: int
    group: int
    window: int | None = None
    softcap: float | None = None
    sinks: bool = False


LAYERS = [
    Layer("64 window sinks", 64, 8, window=128, sinks=True),
    Layer("128", 128, 4),
    Layer("128 all", 128, 7, window=1024, softcap=50.0, sinks=True),
    Layer("256 window softcap", 256, 2, window=4096, softcap=50.0),
]


def builds() -> Iterator[Build]:
    for layer in LAYERS:
        yield build_decode(layer)
        yield build_prefill(layer)


def build_decode(layer: Layer) -> Build:
    tile = decode_tile(layer.head_dim, torch.bfloat16)
    constants = of_layer(layer) | {
        "NUM_SPLITS": 16, "MIN_STEPS": tile.min_steps,
        "BLOCK_H": padded(layer.group), "BLOCK_N": tile.block_n,
    }  # fmt: skip
    name, kernel = f"attention_decode {layer.name}", attention_decode_kernel
    return Build(
        name, kernel, TYPES, UNSPECIALISED, constants, tile.num_warps, tile.num_stages
    )  # fmt: skip


def build_prefill(layer: Layer) -> Build:
    tile = prefill_tile(layer.head_dim, torch.bfloat16, ANYWHERE)
    sm80 = PREFILL_SM80[2 * padded(layer.head_dim)]
    assert (sm80.num_warps, sm80.num_stages) == (tile.num_warps, tile.num_stages)
    return Build(
        f"attention_prefill {layer.name}",
        attention_prefill_kernel,
        TYPES,
        UNSPECIALISED,
        of_layer(layer) | {"BLOCK_ROWS": tile.rows, "BLOCK_N": tile.block_n},
        tile.num_warps,
        tile.num_stages,
        overrides={80: {"BLOCK_ROWS": sm80.rows, "BLOCK_N": sm80.block_n}},
    )


def of_layer(layer: Layer) -> dict[str, Constant]:
    constants: dict[str, Constant] = {
        "NUM_KV_HEADS": 8, "GROUP": layer.group, "BLOCK_TOKENS": 16,
        "HEAD_DIM": layer.head_dim, "V_HEAD_DIM": layer.head_dim,
        "BLOCK_D": padded(layer.head_dim), "BLOCK_DV": padded(layer.head_dim),
        "WINDOW": layer.window, "SOFTCAP": layer.softcap,
    }  # fmt: skip
    return constants if layer.sinks else constants | {"sinks_ptr": None}
