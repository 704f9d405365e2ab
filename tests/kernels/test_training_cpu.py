import numpy as np
import pytest
import torch

from weft.kernels import Half, Site, group_rows, reference, training_cpu

from .cases import (
    CPU_RUNS,
    LAWS,
    ODD,
    QKV,
    Ints,
    Loader,
    Run,
    assert_near,
    random_pairs,
    random_scaling,
    random_v,
    slots_by_law,
)

BLOCKS = np.repeat([-1, 6, 0, 3, 6], [1, 40, 1, 7, 2]).astype(np.int32)


@pytest.mark.parametrize("run", CPU_RUNS)
@pytest.mark.parametrize(
    "slot_T", [*(slots_by_law(law, 18) for law in LAWS), BLOCKS], ids=[*LAWS, "blocks"]
)
@pytest.mark.parametrize("half", Half, ids=["a", "b"])
@pytest.mark.parametrize("site", [QKV, ODD], ids=["qkv", "odd"])
def test_every_product_equals_its_definition(
    run: Run, slot_T: Ints, half: Half, site: Site
) -> None:
    segments, arena, table = run.group(slot_T), run.arena.data, run.arena.table
    x_TK, scaling = run.random(len(slot_T), site.width(half)), random_scaling(run)
    v = random_v(run, segments, site, num_planes=1)
    found = []
    for ops in (training_cpu, reference):
        own_v = ops.shrink(
            x_TK, segments, arena=arena, table=table, site=site, half=half, scaling=scaling
        )
        delta, total, gradients = torch.zeros_like(x_TK), x_TK.clone(), torch.zeros(len(arena))
        for y in (delta, total):
            ops.expand(y, v, segments, arena=arena, table=table, site=site, half=half)
        ops.outer(x_TK, v, segments, gradients=gradients, table=table, site=site, half=half)
        own_v = own_v.where(~v.isnan(), 0)
        found.append({"v": own_v, "delta": delta, "y": total, "gradients": gradients})
    got, want = found
    for name in want:
        assert_near(name, got[name], want[name], tolerance=run.tolerance)
    assert not got["gradients"][want["gradients"] == 0].any()
    untouched = want["delta"] == 0
    assert torch.equal(got["y"][untouched], x_TK[untouched])


def test_neighbours_of_one_width_are_one_block_and_others_stay_apart() -> None:
    site = Site(in_features=64, out_features=(64, 32, 32, 32), first=0)
    loader = Loader(torch.float32, num_elements=4_000, num_slots=1, device="cpu")
    loader.load(0, {site: random_pairs(site, (3, 0, 2, 1), seed=0)})
    arena, table = loader.arena.data, loader.arena.table

    def sizes(half: Half) -> list[tuple[tuple[int, ...], slice, slice]]:
        blocks = training_cpu.blocks_of(arena, table, 0, site, half)
        return [(tuple(block.matrix.shape), block.ranks, block.columns) for block in blocks]

    assert sizes(Half.A) == [((6, 64), slice(0, 6), slice(0, 64))]
    assert sizes(Half.B) == [
        ((3, 64), slice(0, 3), slice(0, 64)),
        ((2, 32), slice(3, 5), slice(96, 128)),
        ((1, 32), slice(5, 6), slice(128, 160)),
    ]
    table.row(0, site).a_at[2:] += 64  # the host's mirror
    assert [ranks for _, ranks, _ in sizes(Half.A)] == [slice(0, 3), slice(3, 6)]


def test_rows_of_neighbours_are_a_slice() -> None:
    segments = group_rows(np.array([1, 0, 0, 1, -1, 2]))
    rows = [training_cpu.rows_of(segments, span) for span in segments.spans]
    assert rows[0] == slice(1, 3)
    assert rows[2] == slice(5, 6)
    assert isinstance(rows[1], torch.Tensor)
    assert rows[1].tolist() == [0, 3]
