"""What ptxas made of a kernel, read from its disassembly."""

import re
import subprocess
import tempfile
from pathlib import Path

import triton

NVDISASM = Path(triton.__file__).parent / "backends/nvidia/bin/nvdisasm"
OPERAND_REGISTERS = 4  # of a thread: 64 by 16 elements of 16 bits over 128 threads


def disassemble(cubin: bytes) -> str:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(NVDISASM), "-c", file.name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def overwritten_operands(sass: str) -> list[str]:
    """Instructions that write a register which an unfinished wgmma may still read.

    ptxas before 13.3 gives such code for some pipelined loops, and the results are then wrong:
    https://github.com/triton-lang/triton/issues/9433. Instructions are taken as they stand.
    """
    reading: set[int] = set()
    found = []
    for instruction in re.findall(r"/\*[0-9a-f]+\*/\s+(?:@!?\w+ )?(.*?)\s*;", sass):
        if reading & written_registers(instruction):
            found.append(instruction)
        if operand := re.match(r"HGMMA\S* R\d+, R(\d+),", instruction):
            first = int(operand[1])
            reading |= set(range(first, first + OPERAND_REGISTERS))
        elif re.match(r"WARPGROUP\.DEPBAR\.LE gsb0, 0x0", instruction):
            reading = set()
    return found


def written_registers(instruction: str) -> set[int]:
    found = re.match(r"([\w.]+) (?:U?P\w+, )?R(\d+)\b", instruction)
    if found is None:
        return set()
    name, first = found[1], int(found[2])
    if product := re.match(r"HGMMA\.64x(\d+)x", name):
        width = int(product[1]) // 2
    elif ".128" in name or name.endswith(".4"):
        width = 4
    else:
        width = 2 if re.search(r"\.64|WIDE|CS2R", name) else 1
    return set(range(first, first + width))
