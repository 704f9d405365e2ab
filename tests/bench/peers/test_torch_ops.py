"""LoRA by torch's own ops, over the laws and mixed ranks."""

import numpy as np
import pytest
import torch

from tests.kernels.cases import LAWS, slots_by_law
from weft.bench.errors import NotApplicable
from weft.bench.peers import torch_ops
from weft.bench.peers.torch_ops import Bmm, Loop
from weft.bench.popularity import Ints

from .lora_cases import check, draw, slots_of

RANKS = (1, 3, 8, 5)


def draw_slots(law: str) -> tuple[Ints, tuple[int, ...]]:
    """Of 13 rows the slots, from 0 without a gap, and their ranks."""
    slot_T = slots_by_law(law, 13)
    used = np.unique(slot_T[slot_T >= 0])
    numbered = np.where(slot_T < 0, -1, np.searchsorted(used, slot_T)).astype(np.int32)
    return numbered, tuple(RANKS[i % len(RANKS)] for i in range(len(used)))


@pytest.mark.parametrize("num_slices", [1, 2, 3])
@pytest.mark.parametrize("law", [law for law in LAWS if law != "empty"])
@pytest.mark.parametrize("contender", [Loop(), Bmm()], ids=lambda c: c.name)
def test_torch_ops_add_the_definition(contender: Loop | Bmm, law: str, num_slices: int) -> None:
    slot_T, ranks = draw_slots(law)
    check(contender, draw(slot_T, ranks, num_slices=num_slices))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("contender", [Loop(), Bmm()], ids=lambda c: c.name)
def test_torch_ops_in_16_bits(contender: Loop | Bmm, dtype: torch.dtype) -> None:
    check(contender, draw(slots_of(1, -1, 0, 1), (4, 2), num_slices=2, dtype=dtype))


def test_rows_of_the_base_alone() -> None:
    inputs = draw(slots_of(-1, -1), ())
    y_TN = torch.ones(2, 48)
    Loop().prepare(inputs)(y_TN)
    assert y_TN.equal(torch.ones(2, 48))
    with pytest.raises(NotApplicable, match="no adapters"):
        Bmm().prepare(inputs)


def test_more_than_a_gpu_holds_is_not_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows of rank 4 and one of the base, each 160 + 48 wide, in 4 bytes."""
    inputs = draw(slots_of(0, -1, 0), (4,))
    monkeypatch.setattr(torch_ops, "GATHER_LIMIT_BYTES", 2 * 4 * 208 * 4)
    Bmm().prepare(inputs)
    monkeypatch.setattr(torch_ops, "GATHER_LIMIT_BYTES", 2 * 4 * 208 * 4 - 1)
    with pytest.raises(NotApplicable, match="gathers"):
        Bmm().prepare(inputs)
