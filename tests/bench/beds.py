"""A tiny engine under test, and how it is told."""

from pathlib import Path

from weft.bench.bed import Bed, make_bed
from weft.bench.options import EngineOptions
from weft.bench.shapes import SHAPES

TINY = EngineOptions(
    shape=SHAPES["tiny"],
    device="cpu",
    dtype="float32",
    num_adapters=3,
    ranks=(4, 9),
    batch=4,
    prompt_tokens=12,
    new_tokens=8,
    threads=1,
    seed=0,
    peers=("hf-peft",),
)


def make_tiny_bed(folder: Path) -> Bed:
    return make_bed(TINY, folder)
