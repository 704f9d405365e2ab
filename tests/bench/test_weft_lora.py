"""Our own contender, interpreted."""

import pytest
import torch

from weft.bench.errors import NotApplicable
from weft.bench.lora_cells import SITES, Batch, LoraCell
from weft.bench.lora_contender import LoraInputs, define_delta, draw_inputs
from weft.bench.trials import relative_error
from weft.bench.weft_lora import CAPACITY, WeftLora, load_arena


def draw(batch: Batch, ranks: tuple[int, ...] = (4, 9), site: str = "small_qkv") -> LoraInputs:
    cell = LoraCell(site, ranks, batch)
    return draw_inputs(cell, seed=2, device=torch.device("cpu"), dtype=torch.float32)


@pytest.mark.parametrize(
    "batch",
    [
        Batch(3, base_share=0.34),
        Batch(2, base_share=1.0),
        Batch(1, prefill_rows=65, prefill_adapters=1),
    ],
    ids=str,
)
def test_delta_is_the_definition_s(batch: Batch) -> None:
    inputs = draw(batch)
    y_TN = torch.zeros(batch.num_rows, sum(inputs.site.out_features))
    WeftLora().prepare(inputs)(y_TN)
    assert relative_error(y_TN, define_delta(inputs)) <= 1e-5


def test_launches_are_sized_for_the_capacity_and_not_for_the_step() -> None:
    small, large = (load_arena(draw(Batch(rows, "identical"))).segments for rows in (1, 7))
    assert small.items.shape == large.items.shape == (CAPACITY, 3)
    assert load_arena(draw(Batch(1))).arena.table.num_slots == CAPACITY


def test_prefill_has_tiles_of_its_own() -> None:
    prefill = Batch(prefill_rows=64, prefill_adapters=1)
    assert load_arena(draw(prefill)).segments.m_tile == 64
    assert load_arena(draw(Batch(1))).segments.m_tile == 16


def test_prefill_may_exceed_the_capacity_of_decode() -> None:
    batch = Batch(prefill_rows=300, prefill_adapters=2)
    assert len(load_arena(draw(batch)).segments.order) == 300


def test_site_of_the_cell_stands_alone_in_its_table() -> None:
    loaded = load_arena(draw(Batch(1), site="small_down"))
    assert loaded.arena.table.num_slices == len(SITES["small_down"].out_features)


def test_launches_that_overlap_need_sm_90() -> None:
    with pytest.raises(NotApplicable, match="from sm_90 on"):
        WeftLora(overlap=True).prepare(draw(Batch(1)))
