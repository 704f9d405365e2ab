import numpy as np
import pytest
import torch
from torch import Tensor

from weft.kernels import Half, Segments, Site, group_rows, reference
from weft.kernels.outer import outer

from .cases import (
    DTYPES,
    LAWS,
    ODD,
    QKV,
    TRITON_RUNS,
    Ints,
    Run,
    assert_near,
    by_add_lora,
    compiled,
    loaded_arena,
    random_v,
    slots_by_law,
)

LONG = np.repeat([6, 0, -1, 2], [131, 1, 2, 64]).astype(np.int32)  # a run of tokens is 64


def random_gradients(run: Run) -> Tensor:
    """What earlier micro-batches left."""
    draw = torch.Generator().manual_seed(5)
    return torch.randn(run.arena.data.numel(), generator=draw).to(run.device)


def run_outer(
    run: Run, x_TK: Tensor, v: Tensor, segments: Segments, site: Site, half: Half
) -> Tensor:
    gradients = torch.zeros(run.arena.data.numel(), device=run.device)
    outer(x_TK, v, segments, gradients=gradients, table=run.arena.table, site=site, half=half)
    return gradients


def matrix_of(run: Run, gradients: Tensor, slot: int, site: Site, half: Half) -> Tensor:
    """The first present matrix of a slot."""
    row = run.arena.table.row(slot, site)
    j = int(np.flatnonzero(row.rank)[0])
    at = int((row.a_at if half is Half.A else row.b_at)[j])
    columns = site.met_by(half)[j]
    return gradients[at : at + int(row.rank[j]) * (columns.stop - columns.start)]


@pytest.mark.parametrize("run", TRITON_RUNS)
@pytest.mark.parametrize(
    "slot_T", [*(slots_by_law(law, 18) for law in LAWS), LONG], ids=[*LAWS, "long"]
)
@pytest.mark.parametrize("half", Half, ids=["a", "b"])
@pytest.mark.parametrize("site", [QKV, ODD], ids=["qkv", "odd"])
def test_outer_adds_what_the_definition_says_and_touches_nothing_else(
    run: Run, slot_T: Ints, half: Half, site: Site
) -> None:
    segments = run.group(slot_T)
    x_TK = run.random(len(slot_T), site.width(half))
    v, table = random_v(run, segments, site, num_planes=2), run.arena.table
    want = torch.zeros(run.arena.data.numel(), device=run.device)
    reference.outer(x_TK, v, segments, gradients=want, table=table, site=site, half=half)
    got = run_outer(run, x_TK, v, segments, site, half)
    assert_near("gradients", got, want, tolerance=run.tolerance)
    assert not got[want == 0].any()
    before = random_gradients(run)
    after = before.clone()
    outer(x_TK, v, segments, gradients=after, table=table, site=site, half=half)
    assert torch.equal(after, before + got)


@pytest.mark.parametrize("run", TRITON_RUNS)
@pytest.mark.parametrize("half", Half, ids=["a", "b"])
def test_gradient_of_an_adapter_does_not_depend_on_its_company(run: Run, half: Half) -> None:
    """Slot 0 keeps its rows; the rest changes slot, rank, number and value."""
    few = np.array([0, 5, 0, -1, 0], np.int32)
    many = np.concatenate([few, slots_by_law("uniform", 15) % 7 + 1]).astype(np.int32)
    many[[1, 3]] = 7, 3
    found = []
    for seed, slot_T in enumerate((few, many)):
        segments = run.group(slot_T)
        x_TK = run.random(len(slot_T), QKV.width(half), seed=seed)
        x_TK[[0, 2, 4]] = run.random(3, QKV.width(half), seed=9)
        v = random_v(run, segments, QKV, num_planes=2)
        v[:, :3, :13] = torch.linspace(-1, 1, 78, device=run.device).view(2, 3, 13)
        gradients = run_outer(run, x_TK, v, segments, QKV, half)
        found.append(matrix_of(run, gradients, 0, QKV, half))
    assert found[0].any()
    assert torch.equal(*found)


@pytest.mark.parametrize("run", TRITON_RUNS)
def test_same_input_gives_the_same_bits(run: Run) -> None:
    segments = run.group(slots_by_law("zipf", 20))
    v, x_TK = random_v(run, segments, QKV, num_planes=3), run.random(20, 128)
    first = run_outer(run, x_TK, v, segments, QKV, Half.B)
    for _ in range(100 if x_TK.is_cuda else 2):
        assert torch.equal(run_outer(run, x_TK, v, segments, QKV, Half.B), first)


@pytest.mark.parametrize("run", TRITON_RUNS)
def test_work_follows_the_device_counts_and_not_the_capacity(run: Run) -> None:
    """Behind the valid segments lies a plausible one: it must not run."""
    slot_T = slots_by_law("distinct", 6)
    exact, roomy = group_rows(slot_T), group_rows(slot_T, capacity=40)
    num_segments = len(exact.slot)
    roomy.slot[num_segments] = 7
    roomy.indptr[num_segments + 1] = 30
    x_TK, v = run.random(40, 96), random_v(run, roomy, QKV, num_planes=2)
    got = run_outer(run, x_TK, v, roomy.to(run.device), QKV, Half.A)
    own_v = v[:, :6].contiguous()
    want = run_outer(run, x_TK, own_v, exact.to(run.device), QKV, Half.A)
    assert torch.equal(got, want)


@pytest.mark.parametrize(
    ("x_TK", "dtype", "message"),
    [
        (torch.zeros(4, 96), torch.float16, r"gradients are torch\.float16, v is torch\.float32"),
        (torch.zeros(4, 95), torch.float32, r"x \(4, 95\) is not contiguous \[T, 96\]"),
        (torch.zeros(96, 4).T, torch.float32, r"x \(4, 96\) is not contiguous"),
    ],
)
def test_wrong_input_is_refused(x_TK: Tensor, dtype: torch.dtype, message: str) -> None:
    arena = loaded_arena(torch.float32)
    with pytest.raises(ValueError, match=message):
        outer(
            x_TK,
            torch.zeros(1, 4, 768),
            group_rows(np.zeros(4, np.int32)),
            gradients=torch.zeros(arena.data.numel(), dtype=dtype),
            table=arena.table,
            site=QKV,
            half=Half.A,
        )


@pytest.mark.gpu
@compiled
def test_graph_captured_at_capacity_replays_every_smaller_step() -> None:
    run = Run(by_add_lora, "cuda", DTYPES["bf16"])
    capacity, table = 48, run.arena.table
    full = group_rows(slots_by_law("uniform", capacity), m_tile=64, capacity=capacity)
    segments, x_TK = full.to("cuda"), run.random(capacity, 96)
    v = run.random(2, capacity, 3 * table.max_rank).float()
    gradients = torch.zeros(run.arena.data.numel(), device="cuda")
    run_outer(run, x_TK, v, segments, QKV, Half.A)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outer(x_TK, v, segments, gradients=gradients, table=table, site=QKV, half=Half.A)
    for num_rows in (0, 1, 17, capacity):
        slot_T = slots_by_law("with_base", num_rows, seed=num_rows)
        step = group_rows(slot_T, m_tile=64, capacity=capacity)
        step.copy_into(segments.buffer)
        gradients.zero_()
        graph.replay()
        want = run_outer(run, x_TK, v, step.to("cuda"), QKV, Half.A)
        assert torch.equal(gradients, want), f"{num_rows} rows"
