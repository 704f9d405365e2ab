"""The grid of the kernel suite: its size, and what each cell holds."""

import numpy as np
import pytest

from weft.bench.lora_cells import (
    P1_CELL,
    SITES,
    Batch,
    LoraCell,
    core_cells,
    full_cells,
    small_cells,
)


def test_core_is_every_site_rank_and_batch_once() -> None:
    cells = list(core_cells())
    assert len(cells) == 5 * 3 * 18
    assert len(set(cells)) == len(cells)
    assert P1_CELL in cells
    assert {cell.rank_name for cell in cells} == {"r16", "r64", "mixed"}
    assert {cell.batch.num_rows for cell in cells} == {1, 8, 32, 64, 128, 512, 8192}


def test_full_leaves_the_core_along_one_axis_only() -> None:
    core, cells = set(core_cells()), list(full_cells())
    assert len(set(cells)) == len(cells)
    assert core < set(cells)
    axes = [{getattr(cell, axis) for cell in core} for axis in ("site", "ranks", "batch")]
    for cell in set(cells) - core:
        values = (cell.site, cell.ranks, cell.batch)
        inside = [value in axis for value, axis in zip(values, axes, strict=True)]
        assert sum(inside) == 2
    assert len({cell.site for cell in cells}) == len(SITES) - 2


def test_names_of_cells_are_their_own() -> None:
    cells = [*full_cells(), *small_cells()]
    assert len({str(cell) for cell in cells}) == len(cells)
    assert str(P1_CELL) == "p1 r16 64 distinct"


@pytest.mark.parametrize(
    ("batch", "name", "num_base", "num_slots"),
    [
        (Batch(32), "32 distinct", 0, 32),
        (Batch(32, "uniform", base_share=0.5), "32 uniform 50% base", 16, 4),
        (Batch(32, base_share=1.0), "32 distinct 100% base", 32, 0),
        (Batch(prefill_rows=512, prefill_adapters=1), "512 prefill of 1", 0, 1),
        (Batch(4, prefill_rows=30, prefill_adapters=4), "4 distinct + 30 prefill of 4", 0, 8),
    ],
)
def test_batch_draws_its_slots(batch: Batch, name: str, num_base: int, num_slots: int) -> None:
    slot_T = batch.draw_slots(seed=1)
    assert str(batch) == name
    assert slot_T.dtype == np.int32
    assert len(slot_T) == batch.num_rows
    assert (slot_T == -1).sum() == num_base
    assert set(slot_T[slot_T >= 0].tolist()) == set(range(num_slots))


def test_base_rows_are_spread_at_random() -> None:
    base = np.flatnonzero(Batch(32, base_share=0.5).draw_slots(seed=0) == -1)
    assert base.min() < 8
    assert base.max() > 24
    assert set(np.diff(base)) != {2}


def test_prefill_rows_lie_behind_in_equal_runs() -> None:
    slot_T = Batch(4, prefill_rows=30, prefill_adapters=4).draw_slots(seed=0)[4:]
    assert (np.diff(slot_T) >= 0).all()
    assert sorted(np.bincount(slot_T)[4:].tolist()) == [7, 7, 8, 8]


def test_seed_decides_the_slots_and_every_site_has_the_same() -> None:
    batch = Batch(64, "uniform")
    assert np.array_equal(batch.draw_slots(3), batch.draw_slots(3))
    assert not np.array_equal(batch.draw_slots(3), batch.draw_slots(4))


def test_ranks_come_in_turn() -> None:
    cell = LoraCell("qkv", (8, 16, 32, 64), Batch(6))
    assert cell.draw_ranks(0) == (8, 16, 32, 64, 8, 16)
    assert LoraCell("qkv", (16,), Batch(8, base_share=1.0)).draw_ranks(0) == ()


def test_work_counts_distinct_adapters_and_adapted_rows() -> None:
    cell = LoraCell("small_down", (8, 16), Batch(3))
    ranks = [cell.rank_of(int(slot)) for slot in cell.batch.draw_slots(0)]
    work = cell.work(0, element_bytes=4)
    assert sorted(ranks) == [8, 8, 16]
    assert work.num_bytes == 4 * (32 * (160 + 48) + 3 * (160 + 2 * 48))
    assert work.flops == 2 * 32 * (160 + 48)
    half = LoraCell("small_down", (8,), Batch(4, "identical", base_share=0.5))
    assert half.work(0, element_bytes=2).num_bytes == 2 * (8 * 208 + 2 * 256)
