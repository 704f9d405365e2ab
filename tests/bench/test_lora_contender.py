"""What contenders are given, and the definition that judges them."""

import numpy as np
import pytest
import torch

from weft.bench.lora_cells import Batch, LoraCell
from weft.bench.lora_contender import LoraInputs, define_delta, draw_inputs
from weft.kernels import Site

CPU = torch.device("cpu")


def test_inputs_fit_their_cell() -> None:
    cell = LoraCell(
        "small_qkv", (4, 8), Batch(5, base_share=0.4, prefill_rows=5, prefill_adapters=2)
    )
    inputs = draw_inputs(cell, seed=0, device=CPU, dtype=torch.float16)
    assert inputs.ranks == (4, 8, 4, 8, 4)
    assert (inputs.num_slots, inputs.max_rank, inputs.has_prefill) == (5, 8, True)
    assert inputs.x_TK.shape == (10, 96)
    assert [tuple(a.shape) for a in inputs.a[1]] == [(8, 96)] * 3
    assert [tuple(b.shape) for b in inputs.b[2]] == [(4, 64), (4, 16), (4, 16)]
    assert {t.dtype for slot in (*inputs.a, *inputs.b) for t in slot} == {torch.float16}
    assert np.array_equal(inputs.slot_T, cell.batch.draw_slots(0))


def test_inputs_come_from_the_seed_and_deltas_are_near_one() -> None:
    cell = LoraCell("small_down", (8,), Batch(32))
    one, two, other = (
        draw_inputs(cell, seed=seed, device=CPU, dtype=torch.float32) for seed in (1, 1, 2)
    )
    assert torch.equal(one.x_TK, two.x_TK)
    assert not torch.equal(one.x_TK, other.x_TK)
    assert float(define_delta(one).std()) == pytest.approx(1, abs=0.3)


def test_definition_is_each_rows_own_product() -> None:
    """Row 0 has slot 1, row 1 none, row 2 slot 0."""
    site = Site(2, (1, 2), first=0)
    a = ((torch.tensor([[1.0, 2]]),) * 2, (torch.tensor([[3.0, 0]]), torch.tensor([[0.0, 5]])))
    b = ((torch.tensor([[10.0]]), torch.tensor([[1.0, -1]])),) * 2
    x_TK = torch.tensor([[1.0, 1], [7, 7], [2, 1]])
    inputs = LoraInputs(
        site, np.array([1, -1, 0], np.int32), has_prefill=False, ranks=(1, 1), a=a, b=b, x_TK=x_TK
    )
    expected = [[30.0, 5, -5], [0, 0, 0], [40, 4, -4]]
    assert define_delta(inputs).tolist() == expected


def test_cell_of_base_rows_has_no_adapters() -> None:
    inputs = draw_inputs(
        LoraCell("small_down", (8,), Batch(4, base_share=1.0)),
        seed=0,
        device=CPU,
        dtype=torch.float32,
    )
    assert (inputs.num_slots, inputs.max_rank) == (0, 0)
    assert not define_delta(inputs).any()
