"""vLLM's kernels in Triton's interpreter, where it is installed or packed."""

import sys

import pytest
import torch

from weft.bench.errors import NotApplicable, PeerMissing
from weft.bench.peers.standins import find_root
from weft.bench.peers.vllm import PACKAGE, Vllm

from .lora_cases import check, draw, require, slots_of


def test_absent_package_is_missing() -> None:
    try:
        find_root(PACKAGE)
    except PeerMissing:
        with pytest.raises(PeerMissing, match="vllm: not installed"):
            Vllm().prepare(draw(slots_of(0), (4,)))
    else:
        pytest.skip("vllm is installed")


def test_adds_the_definition() -> None:
    """In 16 bits; mixed ranks are padded, and one pool follows another."""
    require(PACKAGE)
    check(Vllm(), draw(slots_of(1, -1, 0, 1), (8, 16), dtype=torch.float16))
    check(Vllm(), draw(slots_of(0, 0), (4,), dtype=torch.float16))
    assert PACKAGE not in sys.modules
    with pytest.raises(NotApplicable, match="16 bits only"):
        Vllm().prepare(draw(slots_of(0), (4,)))


def test_names_say_which_pool() -> None:
    assert [Vllm(as_served=served).name for served in (False, True)] == ["vllm", "vllm as served"]
