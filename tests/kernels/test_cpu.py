from collections.abc import Iterator

import numpy as np
import pytest
import torch

from weft.kernels import Site, group_rows

from .cases import (
    DTYPES,
    LAWS,
    ODD,
    QKV,
    SITES,
    TOLERANCE,
    WIDE,
    Loader,
    adapter,
    assert_near,
    by_definition,
    loaded_arena,
    random_pairs,
    slots_by_law,
)


@pytest.fixture(params=[2, 3, 7])
def num_threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def delta(dtype: torch.dtype, site: Site, slots: list[int], *, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    x_TK = torch.randn(len(slots), site.in_features, generator=draw).to(dtype)
    y_TN = x_TK.new_zeros(len(slots), sum(site.out_features))
    loaded_arena(dtype).add_lora(y_TN, x_TK, group_rows(np.array(slots, np.int32)), site)
    return y_TN


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("site", SITES.values(), ids=SITES)
def test_threads_share_the_work_without_a_gap_or_another_bit(
    num_threads: int, law: str, site: Site
) -> None:
    slots = slots_by_law(law, 37).tolist()
    found = delta(torch.float32, site, slots)
    torch.set_num_threads(1)
    assert torch.equal(found, delta(torch.float32, site, slots)), num_threads


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("num_rows", [1, 3, 4, 5])
def test_bits_of_a_row_do_not_depend_on_its_company(name: str, num_rows: int) -> None:
    dtype = DTYPES[name]
    alone = delta(dtype, QKV, [5] + [-1] * 11)
    crowded = delta(dtype, QKV, [5] * num_rows + [7, 3, 0, 1, 6, 2, 4, 7, 7, 7, 7][: 12 - num_rows])
    assert torch.equal(alone[0], crowded[0])


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("site", [WIDE, ODD], ids=["wide", "odd"])
def test_long_segments_equal_the_definition(name: str, site: Site) -> None:
    """Many tiles a segment, and widths that no vector divides."""
    slot_T = np.random.default_rng(0).permutation(np.repeat([-1, 7, 3, 0], [9, 83, 41, 2]))
    arena, segments = loaded_arena(DTYPES[name]), group_rows(slot_T.astype(np.int32))
    x_TK = torch.randn(len(slot_T), site.in_features).to(DTYPES[name])
    got = x_TK.new_zeros(len(slot_T), sum(site.out_features))
    want = got.clone()
    arena.add_lora(got, x_TK, segments, site)
    by_definition(want, x_TK, segments, arena, site)
    assert_near("delta", got, want, tolerance=TOLERANCE[DTYPES[name]])


def test_columns_beyond_one_unit_equal_the_definition() -> None:
    site = Site(in_features=16, out_features=(1100, 530), first=1)
    loader = Loader(torch.float32, num_elements=200_000, num_slots=2, device="cpu")
    for slot, ranks in enumerate([(3, 8), (5, 0)]):
        loader.load(slot, {site: random_pairs(site, ranks, seed=slot)})
    segments = group_rows(np.array([1, 0, 1, 1, 0, 1, 1], np.int32))
    x_TK, got = torch.randn(7, 16), torch.zeros(7, 1630)
    want = got.clone()
    loader.arena.add_lora(got, x_TK, segments, site)
    by_definition(want, x_TK, segments, loader.arena, site)
    assert_near("delta", got, want, tolerance=1e-5)


def test_what_lies_behind_a_matrix_is_not_read() -> None:
    loader = Loader(torch.bfloat16, num_elements=4_000, num_slots=1, device="cpu")
    loader.arena.data.fill_(torch.nan)
    loader.load(0, {ODD: adapter(0)[ODD]})
    y_TN = torch.zeros(3, 14, dtype=torch.bfloat16)
    x_TK = torch.randn(3, 67).bfloat16()
    loader.arena.add_lora(y_TN, x_TK, group_rows(np.array([0, -1, 0], np.int32)), ODD)
    assert y_TN.isfinite().all()


def test_capacity_of_the_segments_is_not_their_number() -> None:
    arena = loaded_arena(torch.float32)
    slot_T = slots_by_law("with_base", 9)
    x_TK = torch.randn(9, 96)
    exact, roomy = torch.zeros(9, 128), torch.zeros(9, 128)
    arena.add_lora(exact, x_TK, group_rows(slot_T), QKV)
    arena.add_lora(roomy, x_TK, group_rows(slot_T, capacity=30), QKV)
    assert torch.equal(exact, roomy)


def test_reloaded_slot_answers_with_its_new_matrices() -> None:
    loader = Loader(torch.float32, num_elements=200_000, num_slots=1, device="cpu")
    segments, x_TK = group_rows(np.zeros(2, np.int32)), torch.randn(2, 96)
    for seed in (0, 1):
        loader.load(0, {QKV: adapter(3, seed=seed)[QKV]})
        got, want = torch.zeros(2, 128), torch.zeros(2, 128)
        loader.arena.add_lora(got, x_TK, segments, QKV)
        by_definition(want, x_TK, segments, loader.arena, QKV)
        assert_near(f"delta {seed}", got, want, tolerance=1e-5)


@pytest.mark.parametrize(
    ("y_TN", "x_TK", "message"),
    [
        (torch.zeros(4, 128), torch.zeros(4, 96).half(), r"x is torch\.float16, y torch\.float32"),
        (torch.zeros(4, 128), torch.zeros(4, 95), r"x \(4, 95\) is not \[T, 96\]"),
        (torch.zeros(4, 127), torch.zeros(4, 96), r"y \(4, 127\) is not contiguous \[T, 128\]"),
        (torch.zeros(128, 4).T, torch.zeros(4, 96), r"y \(4, 128\) is not contiguous"),
    ],
)
def test_wrong_tensors_are_refused(y_TN: torch.Tensor, x_TK: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loaded_arena(torch.float32).add_lora(y_TN, x_TK, group_rows(np.zeros(4, np.int32)), QKV)
