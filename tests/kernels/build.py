"""Compile a kernel as a launch would, without a GPU, and read what its binary takes."""

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, TypedDict

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
Constant = int | str | tuple[int, ...] | None


class Build(NamedTuple):
    """A kernel with the arguments of one launch.

    Attributes:
        types: Triton's type of an argument, by name; "i32" where none is given.
        unspecialised: Arguments that are not divisible by 16, or never specialised.
        options: Of the compiler, beside the warps and stages.
    """

    name: str
    kernel: triton.JITFunction
    types: Mapping[str, str]
    unspecialised: frozenset[str]
    constants: Mapping[str, Constant]
    num_warps: int
    num_stages: int
    options: Mapping[str, Constant] = MappingProxyType({})


class Report(TypedDict):
    """What one build takes: registers, stack and local bytes of a thread, shared ones of a block.

    `loads` counts the loads from global memory by their width in bytes.
    """

    name: str
    capability: int
    registers: int
    stack: int
    local: int
    shared: int
    loads: dict[str, int]


def compile_build(build: Build, capability: int) -> Report:
    names = build.kernel.arg_names
    signature = {
        name: "constexpr" if name in build.constants else build.types.get(name, "i32")
        for name in names
    }
    constexprs = {(names.index(name),): value for name, value in build.constants.items()}
    attrs = {
        (i,): [["tt.divisibility", 16]]
        for i, name in enumerate(names)
        if name not in build.constants and name not in build.unspecialised
    }
    binary = triton.compile(
        ASTSource(build.kernel, signature, constexprs, attrs),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": build.num_warps, "num_stages": build.num_stages, **build.options},
    )
    usage = read_usage(binary.asm["cubin"])
    return Report(
        name=build.name,
        capability=capability,
        registers=usage["REG"],
        stack=usage["STACK"],
        local=usage["LOCAL"],
        shared=binary.metadata.shared,
        loads=count_loads(binary.asm["ptx"]),
    )


def read_usage(cubin: bytes) -> dict[str, int]:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(CUOBJDUMP), "--dump-resource-usage", file.name]
        dump = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {name: int(number) for name, number in re.findall(r"(REG|STACK|LOCAL):(\d+)", dump)}


def count_loads(ptx: str) -> dict[str, int]:
    found = re.findall(r"\bld\.global[.\w:]*?(?:\.v(\d))?\.[bfsu](\d+)", ptx)
    widths = sorted(int(count or 1) * int(bits) // 8 for count, bits in found)
    return dict(Counter(map(str, widths)))
