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

from .sass import disassemble, overwritten_operands

CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
Constant = int | float | str | tuple[int, ...] | None


class Build(NamedTuple):
    """A kernel with the arguments of one launch.

    Attributes:
        types: Triton's type of an argument, by name; "i32" where none is given.
        unspecialised: Arguments that are not divisible by 16, or never specialised.
        options: Of the compiler, beside the warps and stages.
        overrides: By capability, constants that are others there.
        least: The first capability that has its instructions.
    """

    name: str
    kernel: triton.JITFunction
    types: Mapping[str, str]
    unspecialised: frozenset[str]
    constants: Mapping[str, Constant]
    num_warps: int
    num_stages: int
    options: Mapping[str, Constant] = MappingProxyType({})
    overrides: Mapping[int, Mapping[str, Constant]] = MappingProxyType({})
    least: int = 80


class Report(TypedDict):
    """What one build takes: registers, stack and local bytes of a thread, shared ones of a block.

    `loads` counts the loads and copies from global memory by their width in bytes, `products` the
    instructions of the tensor cores by their kind, `overlaps` those that let copies or launches run
    beside others, `overwritten` the writes to registers that a wgmma may still read.
    """

    name: str
    capability: int
    registers: int
    stack: int
    local: int
    shared: int
    loads: dict[str, int]
    products: dict[str, int]
    overlaps: dict[str, int]
    overwritten: int


def compile_build(build: Build, capability: int) -> Report:
    names = build.kernel.arg_names
    constants = {**build.constants, **build.overrides.get(capability, {})}
    signature = {
        name: "constexpr" if name in constants else build.types.get(name, "i32") for name in names
    }
    constexprs = {(names.index(name),): value for name, value in constants.items()}
    attrs = {
        (i,): [["tt.divisibility", 16]]
        for i, name in enumerate(names)
        if name not in constants and name not in build.unspecialised
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
        products=count(r"mma\.sync|wgmma\.mma_async|tcgen05\.mma", binary.asm["ptx"]),
        overlaps=count(r"cp\.async(?=\.c[ag]\b)|griddepcontrol", binary.asm["ptx"]),
        overwritten=len(overwritten_operands(disassemble(binary.asm["cubin"]))),
    )


def read_usage(cubin: bytes) -> dict[str, int]:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(CUOBJDUMP), "--dump-resource-usage", file.name]
        dump = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {name: int(number) for name, number in re.findall(r"(REG|STACK|LOCAL):(\d+)", dump)}


def count_loads(ptx: str) -> dict[str, int]:
    loads = re.findall(r"\bld\.global[.\w:]*?(?:\.v(\d))?\.[bfsu](\d+)", ptx)
    widths = [int(count or 1) * int(bits) // 8 for count, bits in loads]
    copies = re.findall(r"\bcp\.async\.c[ag]\.shared\.global[^,]+,[^,]+, (0x\w+)", ptx)
    widths += [int(width, 16) for width in copies]
    return dict(Counter(map(str, sorted(widths))))


def count(kinds: str, ptx: str) -> dict[str, int]:
    return dict(Counter(sorted(re.findall(rf"\b({kinds})\b", ptx))))
