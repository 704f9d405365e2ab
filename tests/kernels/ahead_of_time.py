"""Compile every kernel in every tile entry, in bf16.

It must run in a process that does not interpret. The arguments are compute capabilities; the output
is a JSON list with the name of each build and the resources of its binary.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from weft.kernels.expand import expand_kernel
from weft.kernels.shrink import shrink_kernel
from weft.kernels.tiles import EXPAND, SHRINK

CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
POINTERS = {
    "x_ptr": "*bf16", "y_ptr": "*bf16", "a_ptr": "*bf16", "b_ptr": "*bf16", "v_ptr": "*fp32",
    "order_ptr": "*i32", "items_ptr": "*i32", "counts_ptr": "*i32",
    "at_ptr": "*i64", "scaling_ptr": "*fp32", "rank_ptr": "*i32",
}  # fmt: skip
# The other arguments of a launch on Llama-3.1-8B's qkv site are divisible by 16.
UNSPECIALISED = {"first_slice", "stride_plane"}


class Build(NamedTuple):
    name: str
    kernel: triton.JITFunction
    constants: dict[str, int | tuple[int, ...] | None]
    num_warps: int
    num_stages: int


def builds() -> Iterator[Build]:
    for m_tile, tile in SHRINK.items():
        constants: dict[str, int | tuple[int, ...] | None] = {
            "NUM_SLICES": 3, "OWN_COLUMNS": (), "scaling_ptr": None,
            "SPLIT_K": tile.splits, "BLOCK_T": m_tile,
            "BLOCK_K": tile.block_k, "BLOCK_R": tile.block_r,
        }  # fmt: skip
        name = f"shrink {m_tile}"
        yield Build(name, shrink_kernel, constants, tile.num_warps, tile.num_stages)
    for m_tile, wide in EXPAND.items():
        constants = {
            "NUM_SLICES": 3, "OWN_COLUMNS": (4096, 1024, 1024), "NUM_TILES": 6144 // wide.block_n,
            "SPLIT_K": SHRINK[m_tile].splits, "BLOCK_T": m_tile,
            "BLOCK_N": wide.block_n, "BLOCK_R": wide.block_r,
        }  # fmt: skip
        name = f"expand {m_tile}"
        yield Build(name, expand_kernel, constants, wide.num_warps, wide.num_stages)


def compile_build(build: Build, capability: int) -> dict[str, int]:
    """Compile as a launch would; REG, STACK and LOCAL per thread, shared memory in bytes."""
    names = build.kernel.arg_names
    signature = {
        name: "constexpr" if name in build.constants else POINTERS.get(name, "i32")
        for name in names
    }
    constexprs = {(names.index(name),): value for name, value in build.constants.items()}
    attrs = {
        (i,): [["tt.divisibility", 16]]
        for i, name in enumerate(names)
        if name not in build.constants and name not in UNSPECIALISED
    }
    binary = triton.compile(
        ASTSource(build.kernel, signature, constexprs, attrs),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": build.num_warps, "num_stages": build.num_stages},
    )
    return {"shared": binary.metadata.shared, **read_resources(binary.asm["cubin"])}


def read_resources(cubin: bytes) -> dict[str, int]:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(CUOBJDUMP), "--dump-resource-usage", file.name]
        dump = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {name: int(number) for name, number in re.findall(r"(REG|STACK|LOCAL):(\d+)", dump)}


if __name__ == "__main__":
    report = [
        {"name": build.name, "capability": capability, **compile_build(build, capability)}
        for capability in map(int, sys.argv[1:])
        for build in builds()
    ]
    json.dump(report, sys.stdout)
