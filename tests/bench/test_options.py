"""Which set-ups a goal is stated for, and what does not fit a shape."""

from dataclasses import replace

import pytest

from weft.bench.options import EngineOptions
from weft.bench.shapes import SHAPES

from .beds import TINY

P6 = EngineOptions(
    shape=SHAPES["82m"],
    device="cpu",
    dtype="bfloat16",
    num_adapters=8,
    ranks=(8, 16, 32, 64),
    batch=16,
    prompt_tokens=64,
    new_tokens=64,
    rounds=3,
    threads=2,
    seed=0,
)


def test_p6_is_stated_for_one_set_up() -> None:
    assert P6.is_p6
    assert not TINY.is_p6
    assert not replace(P6, batch=8).is_p6
    assert not replace(P6, dtype="float32").is_p6
    assert not replace(P6, threads=4).is_p6
    assert not replace(P6, ranks=(8, 16)).is_p6


def test_sequence_longer_than_the_shape_admits_is_refused() -> None:
    with pytest.raises(ValueError, match="520 tokens exceed the shape's 512"):
        replace(TINY, prompt_tokens=512)
