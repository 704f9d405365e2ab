"""SGLang's kernels in Triton's interpreter, where it is installed or packed."""

import sys
from importlib.util import find_spec

import pytest
import torch

from weft.bench.errors import NotApplicable, PeerMissing
from weft.bench.lora_contender import LoraContender
from weft.bench.peers.sglang import PACKAGE, V2, Csgmv, Sgemm
from weft.bench.peers.standins import find_root

from .lora_cases import check, draw, require, slots_of

CONTENDERS = [Csgmv(), Csgmv(split_k=True), Csgmv(as_served=True), Sgemm(), V2()]
by_name = pytest.mark.parametrize("contender", CONTENDERS, ids=lambda c: c.name)


@by_name
def test_absent_package_is_missing(contender: LoraContender) -> None:
    try:
        find_root(PACKAGE)
    except PeerMissing:
        with pytest.raises(PeerMissing, match="sglang: not installed"):
            contender.prepare(draw(slots_of(0), (4,)))
    else:
        pytest.skip("sglang is installed")


@pytest.mark.parametrize("contender", CONTENDERS[:-1], ids=lambda c: c.name)
def test_adds_the_definition(contender: LoraContender) -> None:
    """Distinct rows of three slices, identical ones, and a chunk and more of two slots."""
    require(PACKAGE)
    check(contender, draw(slots_of(1, -1, 0), (8, 16), num_slices=3))
    check(contender, draw(slots_of(0, 0), (4,), dtype=torch.float16))
    rows = slots_of(*[0] * 18, -1, 1)
    check(contender, draw(rows, (16, 8), num_slices=2, has_prefill=True))
    assert PACKAGE not in sys.modules


@pytest.mark.parametrize(("num_rows", "reason"), [(768, "a GPU only"), (769, "whole package")])
def test_v2_runs_on_a_gpu_and_not_all_numbers_of_rows(num_rows: int, reason: str) -> None:
    require(PACKAGE)
    if not (find_spec("msgspec") and find_spec("pydantic")):
        pytest.skip("msgspec or pydantic is not installed")
    with pytest.raises(NotApplicable, match=reason):
        V2().prepare(draw(slots_of(*[0] * num_rows), (4,)))
