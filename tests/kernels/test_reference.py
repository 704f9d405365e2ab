"""The definitions against loops over rows and slices in float64."""

import numpy as np
import pytest
import torch

from weft.kernels import Half, Site, group_rows, reference

from .cases import (
    DTYPES,
    LAWS,
    NUM_SLICES,
    RANKS,
    SITES,
    TOLERANCE,
    adapter,
    assert_near,
    by_definition,
    loaded_arena,
    slots_by_law,
)


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("site", SITES.values(), ids=SITES)
def test_definition_equals_one_product_per_row_in_float64(name: str, law: str, site: Site) -> None:
    dtype = DTYPES[name]
    slot_T = slots_by_law(law, 12)
    x_TK = torch.randn(12, site.in_features).to(dtype)
    y_TN = torch.randn(12, sum(site.out_features)).to(dtype)
    want = y_TN.double()
    for row, slot in enumerate(slot_T.tolist()):
        for pair, columns in (
            zip(adapter(slot)[site], site.outputs, strict=True) if slot >= 0 else ()
        ):
            a_RK, b_RN = pair.a_RK.to(dtype).double(), pair.b_RN.to(dtype).double()
            want[row, columns] += x_TK[row].double() @ a_RK.T @ b_RN
    by_definition(y_TN, x_TK, group_rows(slot_T), loaded_arena(dtype), site)
    assert_near("y", y_TN, want, tolerance=TOLERANCE[dtype])


def test_planes_of_v_add_up() -> None:
    site, arena = SITES["qkv"], loaded_arena(torch.float32)
    segments = group_rows(np.array([1, 1, 3]))
    x_TK = torch.randn(3, 96)
    v = reference.shrink(x_TK, segments, arena=arena.data, table=arena.table, site=site)
    one, two = torch.zeros(2, 3, 128)
    reference.expand(one, v, segments, arena=arena.data, table=arena.table, site=site)
    halves = torch.cat([v / 4, v * 3 / 4])
    reference.expand(two, halves, segments, arena=arena.data, table=arena.table, site=site)
    assert_near("two planes", two, one, tolerance=1e-6)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("site", SITES.values(), ids=SITES)
def test_exchanged_halves_equal_one_product_per_row_in_float64(law: str, site: Site) -> None:
    """y back to x: the slices' own columns through B, times their scaling, and through A."""
    slot_T = slots_by_law(law, 12)
    y_TN, x_TK = torch.randn(12, sum(site.out_features)), torch.randn(12, site.in_features)
    scaling = torch.rand(len(RANKS), NUM_SLICES)
    want = x_TK.double()
    for row, slot in enumerate(slot_T.tolist()):
        for j, columns in enumerate(site.outputs if slot >= 0 else ()):
            pair, factor = adapter(slot)[site][j], scaling[slot, site.first + j].double()
            v_R = factor * (y_TN[row, columns].double() @ pair.b_RN.double().T)
            want[row] += v_R @ pair.a_RK.double()
    arena, segments = loaded_arena(torch.float32), group_rows(slot_T)
    data, table = arena.data, arena.table
    v = reference.shrink(
        y_TN, segments, arena=data, table=table, site=site, half=Half.B, scaling=scaling
    )
    reference.expand(x_TK, v, segments, arena=data, table=table, site=site, half=Half.A)
    assert_near("x", x_TK, want, tolerance=1e-5)
