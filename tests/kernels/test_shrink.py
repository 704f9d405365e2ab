import numpy as np
import pytest
import torch
from torch import Tensor

from weft.kernels import Half, Segments, Site, group_rows, reference
from weft.kernels.shrink import shrink

from .cases import (
    LAWS,
    ODD,
    OUT,
    QKV,
    RANKS,
    SITES,
    TRITON_RUNS,
    WIDE,
    Loader,
    Run,
    assert_near,
    loaded_arena,
    random_pairs,
    random_scaling,
    slots_by_law,
)


def run_shrink(run: Run, x_TK: Tensor, segments: Segments, site: Site) -> Tensor:
    return shrink(x_TK, segments, arena=run.arena.data, table=run.arena.table, site=site)


def written_part(run: Run, v: Tensor, segments: Segments, site: Site) -> Tensor:
    """Where v has an entry: every row's own ranks."""
    written = torch.zeros_like(v, dtype=torch.bool)
    for slot, start, stop in segments.spans:
        written[start:stop, : run.arena.table.row(slot, site).rank.sum()] = True
    return written


@pytest.mark.parametrize("run", TRITON_RUNS)
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("site", [QKV, WIDE], ids=["qkv", "wide"])
def test_planes_add_up_to_the_definition_and_nothing_else_is_written(
    run: Run, law: str, site: Site
) -> None:
    slot_T = slots_by_law(law, 18)
    segments = run.group(slot_T)
    x_TK = run.random(18, site.in_features)
    v = run_shrink(run, x_TK, segments, site)
    arena = run.arena
    want = reference.shrink(x_TK, segments, arena=arena.data, table=arena.table, site=site)[0]
    written = written_part(run, want, segments, site)
    assert v[:, ~written].isnan().all()
    assert_near("v", v.sum(0)[written], want[written], tolerance=1e-5)


@pytest.mark.parametrize("run", TRITON_RUNS)
@pytest.mark.parametrize("law", ["distinct", "with_base", "empty"])
@pytest.mark.parametrize("half", Half, ids=["a", "b"])
@pytest.mark.parametrize("site", [QKV, ODD], ids=["qkv", "odd"])
def test_both_halves_with_a_scaling_equal_the_definition(
    run: Run, law: str, half: Half, site: Site
) -> None:
    segments, arena, scaling = run.group(slots_by_law(law, 18)), run.arena, random_scaling(run)
    x_TK = run.random(18, site.width(half))
    v = shrink(
        x_TK, segments, arena=arena.data, table=arena.table, site=site, half=half, scaling=scaling
    )
    want = reference.shrink(
        x_TK, segments, arena=arena.data, table=arena.table, site=site, half=half, scaling=scaling
    )[0]
    written = written_part(run, want, segments, site)
    assert v[:, ~written].isnan().all()
    assert_near("v", v.sum(0)[written], want[written], tolerance=1e-5)


def test_slices_of_any_width_share_the_planes_of_the_widest() -> None:
    site = Site(in_features=33, out_features=(1290, 40), first=0)
    loader = Loader(torch.float32, num_elements=40_000, num_slots=1, device="cpu")
    loader.load(0, {site: random_pairs(site, (12, 16), seed=0)})
    data, table, segments = loader.arena.data, loader.arena.table, group_rows(np.zeros(3, np.int32))
    y_TN = torch.randn(3, 1330, generator=torch.Generator().manual_seed(0))
    v = shrink(y_TN, segments, arena=data, table=table, site=site, half=Half.B)
    want = reference.shrink(y_TN, segments, arena=data, table=table, site=site, half=Half.B)
    assert len(v) == 6
    assert_near("v", v.sum(0)[:, :28], want[0, :, :28], tolerance=1e-5)


def test_wide_site_has_several_planes() -> None:
    arena = loaded_arena(torch.float32)
    v = shrink(
        torch.randn(2, 1290),
        group_rows(np.array([1, 2])),
        arena=arena.data,
        table=arena.table,
        site=WIDE,
    )
    assert v.shape == (6, 2, 256)


@pytest.mark.parametrize("run", TRITON_RUNS)
def test_same_input_gives_the_same_bits(run: Run) -> None:
    slot_T = slots_by_law("uniform", 20)
    x_TK, segments = run.random(20, 96), run.group(slot_T)
    first = run_shrink(run, x_TK, segments, QKV)
    for _ in range(100 if x_TK.is_cuda else 3):
        again = run_shrink(run, x_TK, segments, QKV)
        assert torch.equal(again.nan_to_num(), first.nan_to_num())


@pytest.mark.parametrize("run", TRITON_RUNS)
def test_bits_of_a_row_do_not_depend_on_the_others(run: Run) -> None:
    """Row 0 keeps its place in the order; the rest changes slot, rank and value."""
    x_TK = run.random(20, 96)
    other_TK = run.random(20, 96, seed=1)
    other_TK[0] = x_TK[0]
    alone = np.full(20, -1, np.int32)
    alone[0] = 0
    crowded = np.concatenate([[0], slots_by_law("uniform", 19) % 7 + 1]).astype(np.int32)
    one = run_shrink(run, x_TK, run.group(alone), QKV)[:, 0, : sum(RANKS[0][:3])]
    two = run_shrink(run, other_TK, run.group(crowded), QKV)[:, 0, : sum(RANKS[0][:3])]
    assert torch.equal(one, two)


@pytest.mark.parametrize("run", TRITON_RUNS)
def test_work_follows_the_device_counts_and_not_the_capacity(run: Run) -> None:
    """Behind the valid items lies a plausible one: it must not run."""
    slot_T = slots_by_law("distinct", 6)
    exact, roomy = group_rows(slot_T), group_rows(slot_T, capacity=40)
    roomy.items[int(roomy.counts[1]) :] = torch.tensor([3, 20, 4], dtype=torch.int32)
    x_TK = run.random(40, 80)
    v = run_shrink(run, x_TK, roomy.to(run.device), OUT)
    assert v.shape[1] == 40
    assert v[:, 6:].isnan().all()
    want = run_shrink(run, x_TK, exact.to(run.device), OUT)
    assert torch.equal(v[:, :6].nan_to_num(), want.nan_to_num())


@pytest.mark.parametrize("run", TRITON_RUNS)
def test_no_adapted_row_at_capacity_writes_nothing(run: Run) -> None:
    segments = group_rows(slots_by_law("empty", 5), capacity=16).to(run.device)
    assert run_shrink(run, run.random(16, 96), segments, QKV).isnan().all()


@pytest.mark.parametrize(
    ("x_TK", "message"),
    [
        (torch.zeros(4, 96, dtype=torch.float16), r"x is torch\.float16, the arena torch\.float32"),
        (torch.zeros(4, 95), r"x \(4, 95\) is not contiguous \[T, 96\]"),
        (torch.zeros(96, 4).T, r"x \(4, 96\) is not contiguous"),
    ],
)
def test_wrong_input_is_refused(x_TK: Tensor, message: str) -> None:
    arena = loaded_arena(torch.float32)
    segments = group_rows(np.zeros(4, np.int32))
    with pytest.raises(ValueError, match=message):
        shrink(x_TK, segments, arena=arena.data, table=arena.table, site=SITES["qkv"])
