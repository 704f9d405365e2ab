import numpy as np
import pytest
import torch
from torch import Tensor

from weft.kernels import Half, Segments, Site, group_rows, reference
from weft.kernels.expand import expand

from .cases import (
    LAWS,
    MAX_RANK,
    ODD,
    QKV,
    SITES,
    TRITON_RUNS,
    Loader,
    Run,
    assert_near,
    loaded_arena,
    random_pairs,
    random_v,
    slots_by_law,
)


def run_expand(run: Run, y_TN: Tensor, v: Tensor, segments: Segments, site: Site) -> Tensor:
    expand(y_TN, v, segments, arena=run.arena.data, table=run.arena.table, site=site)
    return y_TN


@pytest.mark.parametrize("run", TRITON_RUNS)
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("site", SITES.values(), ids=SITES)
@pytest.mark.parametrize("num_planes", [1, 11])
def test_expand_equals_the_definition(run: Run, law: str, site: Site, num_planes: int) -> None:
    segments = run.group(slots_by_law(law, 18))
    v = random_v(run, segments, site, num_planes=num_planes)
    got, want = torch.zeros(2, 18, sum(site.out_features), dtype=run.dtype, device=run.device)
    run_expand(run, got, v, segments, site)
    arena = run.arena
    reference.expand(want, v, segments, arena=arena.data, table=arena.table, site=site)
    assert_near("y", got, want, tolerance=run.tolerance)


@pytest.mark.parametrize("run", TRITON_RUNS)
@pytest.mark.parametrize("law", ["distinct", "with_base", "empty"])
@pytest.mark.parametrize("site", [QKV, ODD], ids=["qkv", "odd"])
def test_slices_sum_up_in_the_input_through_the_other_half(run: Run, law: str, site: Site) -> None:
    segments, arena = run.group(slots_by_law(law, 18)), run.arena
    v = random_v(run, segments, site, num_planes=2)
    base = run.random(18, site.in_features)
    for name, start in {"delta": torch.zeros_like(base), "sum": base}.items():
        got, want = start.clone(), start.clone()
        for op, y in ((expand, got), (reference.expand, want)):
            op(y, v, segments, arena=arena.data, table=arena.table, site=site, half=Half.A)
        assert_near(name, got, want, tolerance=run.tolerance)
        untouched = torch.from_numpy(slots_by_law(law, 18) < 0)
        assert torch.equal(got[untouched], start[untouched])


@pytest.mark.parametrize("run", TRITON_RUNS)
def test_every_rank_class_covers_wide_slices(run: Run) -> None:
    """Slices of two strips and more, which end within a strip, and within a tile of it."""
    site = Site(in_features=8, out_features=(1030, 520), first=0)
    ranks = [(3, 16), (17, 32), (40, 1)]
    loader = Loader(run.dtype, num_elements=180_000, num_slots=3, device=run.device)
    for slot, own in enumerate(ranks):
        loader.load(slot, {site: random_pairs(site, own, seed=slot)})
    segments = run.group(np.array([0, 1, 2, 0], np.int32))
    v = torch.randn(17, 4, 2 * MAX_RANK, generator=torch.Generator().manual_seed(0)).to(run.device)
    got, want = torch.zeros(2, 4, 1550, dtype=run.dtype, device=run.device)
    data, table = loader.arena.data, loader.arena.table
    expand(got, v, segments, arena=data, table=table, site=site)
    reference.expand(want, v, segments, arena=data, table=table, site=site)
    assert_near("y", got, want, tolerance=run.tolerance)


@pytest.mark.parametrize("run", TRITON_RUNS)
def test_nothing_around_the_output_is_touched(run: Run) -> None:
    segments = run.group(slots_by_law("uniform", 9))
    band = torch.full((9 + 8, 128), 7.0, dtype=run.dtype, device=run.device)
    run_expand(run, band[4:13], random_v(run, segments, QKV, num_planes=2), segments, QKV)
    assert (band[:4] == 7).all()
    assert (band[13:] == 7).all()
    assert not (band[4:13] == 7).all()


@pytest.mark.parametrize("run", TRITON_RUNS)
def test_sum_is_rounded_once(run: Run) -> None:
    """Two planes of a quarter of the output's epsilon each: only their exact sum moves y."""
    eps = torch.finfo(run.dtype).eps
    segments = run.group(np.zeros(1, np.int32))
    arena = run.arena
    site = Site(in_features=96, out_features=(80,), first=1)  # slot 0, rank 1: y += v · b
    b_at = int(arena.table.row(0, site).b_at[0])
    b_N = arena.data[b_at : b_at + 80].float()
    v = torch.zeros(2, 1, MAX_RANK, device=run.device)
    v[:, 0, 0] = 0.35 * eps
    y_TN = run_expand(run, torch.ones(1, 80, dtype=run.dtype, device=run.device), v, segments, site)
    want = (1 + (0.7 * eps * b_N.double())).to(run.dtype)
    assert torch.equal(y_TN[0], want)


@pytest.mark.parametrize("run", TRITON_RUNS)
def test_same_input_gives_the_same_bits(run: Run) -> None:
    segments = run.group(slots_by_law("zipf", 20))
    v = random_v(run, segments, QKV, num_planes=3)
    base = run.random(20, 128)
    first = run_expand(run, base.clone(), v, segments, QKV)
    for _ in range(100 if base.is_cuda else 3):
        assert torch.equal(run_expand(run, base.clone(), v, segments, QKV), first)


@pytest.mark.parametrize("run", TRITON_RUNS)
def test_work_follows_the_device_counts_and_not_the_capacity(run: Run) -> None:
    slot_T = slots_by_law("distinct", 6)
    roomy = group_rows(slot_T, capacity=40)
    roomy.items[int(roomy.counts[1]) :] = torch.tensor([3, 1, 4], dtype=torch.int32)
    v = random_v(run, roomy, QKV, num_planes=2)
    exact = run.group(slot_T)
    base = run.random(40, 128)
    got = run_expand(run, base.clone(), v, roomy.to(run.device), QKV)
    want = run_expand(run, base.clone(), v[:, :6].contiguous(), exact, QKV)
    assert torch.equal(got, want)


@pytest.mark.parametrize(
    ("y_TN", "message"),
    [
        (
            torch.zeros(4, 128, dtype=torch.float16),
            r"y is torch\.float16, the arena",
        ),
        (torch.zeros(4, 127), r"y \(4, 127\) is not contiguous \[T, 128\]"),
        (torch.zeros(4, 256)[:, :128], r"y \(4, 128\) is not contiguous"),
    ],
)
def test_wrong_output_is_refused(y_TN: Tensor, message: str) -> None:
    arena, segments = loaded_arena(torch.float32), group_rows(np.zeros(4, np.int32))
    v = torch.zeros(1, 4, 3 * MAX_RANK)
    with pytest.raises(ValueError, match=message):
        expand(y_TN, v, segments, arena=arena.data, table=arena.table, site=QKV)
