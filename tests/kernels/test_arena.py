"""The laws of adding adapters, for the Triton kernels and the CPU path alike."""

import numpy as np
import pytest
import torch

from weft.kernels import ALIGNMENT_BYTES, Arena, Site, group_rows

from .cases import (
    COMPILED_RUNS,
    INTERPRETED_RUNS,
    LAWS,
    OUT,
    QKV,
    RANKS,
    RUNS,
    SITES,
    Loader,
    Pair,
    Run,
    adapter,
    assert_near,
    by_add_lora,
    by_definition,
    compiled,
    random_pairs,
    slots_by_law,
)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("site", SITES.values(), ids=SITES)
def test_delta_equals_the_definition(run: Run, law: str, site: Site) -> None:
    slot_T = slots_by_law(law, 21)
    x_TK = run.random(21, site.in_features)
    want = x_TK.new_zeros(21, sum(site.out_features))
    by_definition(want, x_TK, run.group(slot_T), run.arena, site)
    assert_near("delta", run.delta(x_TK, slot_T, site), want, tolerance=run.tolerance)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("law", LAWS)
def test_sum_equals_the_definition_on_any_output(run: Run, law: str) -> None:
    slot_T = slots_by_law(law, 19, seed=1)
    x_TK, y_TN = run.random(19, 96, seed=1), run.random(19, 128, seed=2)
    want = y_TN.clone()
    by_definition(want, x_TK, run.group(slot_T), run.arena, QKV)
    run.add_lora(y_TN, x_TK, run.group(slot_T), run.arena, QKV)
    assert_near("y", y_TN, want, tolerance=run.tolerance)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("num_rows", [0, 1, 15, 16, 17, 40])
def test_any_number_of_rows(run: Run, num_rows: int) -> None:
    slot_T = np.full(num_rows, 5, np.int32)
    x_TK = run.random(num_rows, 80, seed=3)
    want = x_TK.new_zeros(num_rows, 96)
    by_definition(want, x_TK, run.group(slot_T), run.arena, OUT)
    assert_near("delta", run.delta(x_TK, slot_T, OUT), want, tolerance=run.tolerance)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("m_tile", [64, 128])
def test_prefill_tiles_equal_the_definition(run: Run, m_tile: int) -> None:
    slot_T = slots_by_law("skewed", 150)
    x_TK = run.random(150, 96, seed=4)
    want = x_TK.new_zeros(150, 128)
    by_definition(want, x_TK, run.group(slot_T), run.arena, QKV)
    got = run.delta(x_TK, slot_T, QKV, m_tile=m_tile)
    assert_near("delta", got, want, tolerance=run.tolerance)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("law", ["uniform", "with_base", "empty"])
def test_base_rows_and_absent_slices_keep_their_bits(run: Run, law: str) -> None:
    """Slot 2 lacks q and v, 3 lacks k, 4 the whole site; -0.0 and NaN are bits as well."""
    slot_T = slots_by_law(law, 24)
    y_TN = torch.full((24, 128), -0.0, dtype=run.dtype)
    targeted = torch.zeros(24, 128, dtype=torch.bool)
    for row, slot in enumerate(slot_T):
        for j, columns in enumerate(QKV.outputs):
            targeted[row, columns] = bool(slot >= 0 and RANKS[slot][j] > 0)
    y_TN[~targeted & (torch.arange(128) % 3 == 0)] = torch.nan
    before = y_TN.clone()
    y_TN = y_TN.to(run.device)
    run.add_lora(y_TN, run.random(24, 96), run.group(slot_T), run.arena, QKV)
    integers = torch.int32 if run.dtype == torch.float32 else torch.int16
    after_bits, before_bits = y_TN.cpu().view(integers), before.view(integers)
    assert torch.equal(after_bits[~targeted], before_bits[~targeted])
    assert (after_bits[targeted] != before_bits[targeted]).all()


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.filterwarnings("ignore:(invalid value|overflow) encountered:RuntimeWarning")
@pytest.mark.parametrize("bad", [torch.inf, torch.nan, 6e4])
def test_overflow_stays_in_its_own_row(run: Run, bad: float) -> None:
    slot_T = np.array([7, 1, 2, -1, 6, 1, 3, 5], np.int32)
    x_TK = run.random(8, 96)
    want = run.delta(x_TK, slot_T, QKV)
    x_TK[[0, 3, 5]] = bad
    got = run.delta(x_TK, slot_T, QKV)
    others = [1, 2, 4, 6, 7]
    assert got.isfinite()[others].all()
    assert_near("other rows", got[others], want[others], tolerance=run.tolerance)


@pytest.mark.parametrize("run", RUNS)
def test_permuting_rows_permutes_results(run: Run) -> None:
    slot_T = slots_by_law("with_base", 30)
    x_TK = run.random(30, 96, seed=5)
    order = np.random.default_rng(0).permutation(30)
    straight, permuted = run.delta(x_TK, slot_T, QKV), run.delta(x_TK[order], slot_T[order], QKV)
    assert_near("permuted", permuted, straight[order], tolerance=run.tolerance)


@pytest.mark.parametrize("run", RUNS)
def test_base_rows_between_change_nothing(run: Run) -> None:
    slot_T = slots_by_law("zipf", 10)
    x_TK = run.random(10, 96, seed=6)
    spread_T, spread = np.full(25, -1, np.int32), run.random(25, 96, seed=7)
    places = np.arange(10) * 2 + 3
    spread_T[places], spread[places] = slot_T, x_TK
    got = run.delta(spread, spread_T, QKV)[places]
    assert_near("spread", got, run.delta(x_TK, slot_T, QKV), tolerance=run.tolerance)


@pytest.mark.parametrize("run", RUNS)
def test_slot_numbers_and_places_in_the_arena_change_nothing(run: Run) -> None:
    slots = len(RANKS)
    loader = Loader(run.dtype, num_elements=700_000, num_slots=3 * slots, device=run.device)
    for slot in reversed(range(slots)):
        loader.skip(1 + 100 * slot)
        loader.load(3 * slots - 1 - 2 * slot, adapter(slot))
    slot_T = slots_by_law("uniform", 20)
    moved_T = np.where(slot_T >= 0, 3 * slots - 1 - 2 * slot_T, -1)
    x_TK = run.random(20, 96, seed=8)
    got = x_TK.new_zeros(20, 128)
    run.add_lora(got, x_TK, run.group(moved_T), loader.arena, QKV)
    assert_near("moved", got, run.delta(x_TK, slot_T, QKV), tolerance=run.tolerance)


@pytest.mark.parametrize("run", RUNS)
def test_adapter_with_zero_b_equals_the_base(run: Run) -> None:
    loader = Loader(run.dtype, num_elements=60_000, num_slots=1, device=run.device)
    pairs = [Pair(pair.a_RK, torch.zeros_like(pair.b_RN)) for pair in adapter(3)[QKV]]
    loader.load(0, {QKV: pairs})
    y_TN = run.random(9, 128)
    before = y_TN.clone()
    run.add_lora(y_TN, run.random(9, 96), run.group(np.zeros(9, np.int32)), loader.arena, QKV)
    assert torch.equal(y_TN, before)


@pytest.mark.parametrize("run", RUNS)
def test_lora_equals_merged_weights(run: Run) -> None:
    w_NK = run.random(128, 96, seed=9) / 96**0.5
    slot_T = slots_by_law("with_base", 16)
    x_TK = run.random(16, 96, seed=10)
    y_TN = x_TK @ w_NK.T
    run.add_lora(y_TN, x_TK, run.group(slot_T), run.arena, QKV)
    for row, slot in enumerate(slot_T):
        merged = w_NK.double()
        if slot >= 0:
            deltas = [pair.b_RN.double().T @ pair.a_RK.double() for pair in adapter(int(slot))[QKV]]
            merged = merged + torch.cat(deltas).to(run.device)
        want = x_TK[row].double() @ merged.T
        assert_near(f"row {row}", y_TN[row], want, tolerance=run.tolerance)


@pytest.mark.filterwarnings("ignore:(invalid value|overflow) encountered:RuntimeWarning")
@pytest.mark.parametrize("run", RUNS)
def test_adapter_that_overflows_reaches_no_row_of_another(run: Run) -> None:
    """Every row meets the A of slot 1, and 0 * inf is NaN."""
    loader = Loader(run.dtype, num_elements=200_000, num_slots=2, device=run.device)
    loader.load(0, {QKV: adapter(3)[QKV]})
    huge = [Pair(pair.a_RK * 1e38, pair.b_RN) for pair in adapter(5)[QKV]]
    loader.load(1, {QKV: huge})
    x_TK = run.random(4, 96, seed=12).abs() * 100
    got = x_TK.new_zeros(4, 128)
    run.add_lora(got, x_TK, run.group(np.array([0, 1, 0, 1], np.int32)), loader.arena, QKV)
    want = run.delta(x_TK, np.full(4, 3, np.int32), QKV)
    assert not got[[1, 3]].isfinite().all()
    assert_near("rows of slot 0", got[[0, 2]], want[[0, 2]], tolerance=run.tolerance)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("change", ["rewrite", "clear"])
def test_changed_row_answers_at_once(run: Run, change: str) -> None:
    loader = Loader(run.dtype, num_elements=200_000, num_slots=3, device=run.device)
    for slot in range(3):
        loader.load(slot, {QKV: adapter(slot)[QKV]})
    segments = run.group(np.array([0, 1, 2, 1], np.int32))
    x_TK = run.random(4, 96, seed=11)
    before = x_TK.new_zeros(4, 128)
    run.add_lora(before, x_TK, segments, loader.arena, QKV)

    if change == "rewrite":
        loader.load(1, {QKV: adapter(1, seed=1)[QKV]})
    else:
        loader.arena.clear_row(1)

    after, want = x_TK.new_zeros(4, 128), x_TK.new_zeros(4, 128)
    run.add_lora(after, x_TK, segments, loader.arena, QKV)
    by_definition(want, x_TK, segments, loader.arena, QKV)
    assert_near("after", after, want, tolerance=run.tolerance)
    assert not torch.equal(after[1], before[1])
    assert after[1].any() == (change == "rewrite")


def small_arena() -> Arena:
    return Arena(1024, num_slots=2, num_slices=2, dtype=torch.float32, device="cpu", max_rank=8)


@pytest.mark.parametrize(
    ("slot", "a_at", "b_at", "rank", "message"),
    [
        (2, [0, 0], [0, 0], [1, 1], "slot 2 is outside the table of 2 slots"),
        (-1, [0, 0], [0, 0], [1, 1], "slot -1 is outside"),
        (0, [0, 1024], [0, 0], [1, 1], "a_at 0 to 1024 leaves the arena of 1024 elements"),
        (0, [0, 0], [-32, 0], [1, 1], "b_at -32 to 0 leaves the arena"),
        (0, [0, 33], [0, 0], [1, 1], f"a_at 33 is not at a boundary of {ALIGNMENT_BYTES} bytes"),
        (0, [0, 0], [0, 0], [1, 9], "ranks 1 to 9 exceed max_rank 8"),
        (0, [0, 0], [0, 0], [-1, 1], "ranks -1 to 1 exceed"),
        (0, [0], [0], [1], "the table has 2 slices"),
    ],
)
def test_row_that_does_not_fit_is_refused(
    slot: int, a_at: list[int], b_at: list[int], rank: list[int], message: str
) -> None:
    arena = small_arena()
    with pytest.raises(ValueError, match=message):
        arena.write_row(slot, np.array(a_at), np.array(b_at), np.array(rank, np.int32))
    assert not arena.table.rank.any()


def test_place_of_an_absent_slice_is_not_looked_at() -> None:
    arena = small_arena()
    arena.write_row(0, np.array([32, -1]), np.array([64, 7777]), np.array([4, 0], np.int32))
    assert arena.table.rank.tolist() == [[4, 0], [0, 0]]
    assert arena.table.rank_C.tolist() == [4, 0]


@pytest.mark.parametrize("run", [INTERPRETED_RUNS[0], *COMPILED_RUNS])
def test_lm_head_is_a_site_like_any(run: Run) -> None:
    head = Site(in_features=16, out_features=(128_256,), first=0)
    loader = Loader(run.dtype, num_elements=400_000, num_slots=1, device=run.device)
    loader.load(0, {head: random_pairs(head, (3,), seed=0)})
    segments = run.group(np.array([-1, 0], np.int32))
    got, want = torch.zeros(2, 2, 128_256, dtype=run.dtype, device=run.device)
    x_TK = run.random(2, 16)
    run.add_lora(got, x_TK, segments, loader.arena, head)
    by_definition(want, x_TK, segments, loader.arena, head)
    assert_near("y", got, want, tolerance=run.tolerance)


@pytest.mark.gpu
@compiled
@pytest.mark.parametrize("m_tile", [16, 64])
def test_graph_captured_at_capacity_replays_every_smaller_step(m_tile: int) -> None:
    """One set of addresses: a step is one copy into the segments' buffer, and none is rebuilt."""
    run = Run(by_add_lora, "cuda", torch.bfloat16)
    capacity = 48
    full = group_rows(slots_by_law("uniform", capacity), m_tile=m_tile, capacity=capacity)
    x_TK, y_TN = run.random(capacity, 96), run.random(capacity, 128)
    segments = full.to("cuda")
    run.arena.add_lora(y_TN, x_TK, segments, QKV)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run.arena.add_lora(y_TN, x_TK, segments, QKV)
    for num_rows in (0, 1, 15, 16, 17, 31, capacity):
        for law in LAWS:
            slot_T = slots_by_law(law, num_rows, seed=num_rows)
            base = run.random(capacity, 128, seed=num_rows)
            x_TK.copy_(run.random(capacity, 96, seed=num_rows + 1))
            want = base.clone()
            run.arena.add_lora(want, x_TK, run.group(slot_T, m_tile=m_tile), QKV)
            step = group_rows(slot_T, m_tile=m_tile, capacity=capacity)
            step.copy_into(segments.buffer)
            y_TN.copy_(base)
            graph.replay()
            assert torch.equal(y_TN, want), f"{num_rows} rows, {law}"


@pytest.mark.gpu
@compiled
def test_matrices_beyond_two_to_the_31_elements_are_reached() -> None:
    loader = Loader(torch.bfloat16, num_elements=(1 << 31) + 400_000, num_slots=1, device="cuda")
    loader.skip(1 << 31)
    loader.load(0, {QKV: adapter(3)[QKV]})
    run = Run(by_add_lora, "cuda", torch.bfloat16)
    x_TK = run.random(4, 96)
    got = x_TK.new_zeros(4, 128)
    loader.arena.add_lora(got, x_TK, run.group(np.zeros(4, np.int32)), QKV)
    want = run.delta(x_TK, np.full(4, 3, np.int32), QKV)
    assert torch.equal(got, want)
