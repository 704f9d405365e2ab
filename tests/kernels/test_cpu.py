import numpy as np
import pytest
import torch

from weft.kernels import Segments, Site, Span, group_rows
from weft.kernels.cpu import CpuLora, divide

from .cases import (
    DTYPES,
    QKV,
    RANKS,
    SITES,
    TOLERANCE,
    Loader,
    adapter,
    assert_near,
    by_definition,
    loaded_arena,
    slots_by_law,
)

RANK_S = np.array([8.0, 16.0, 64.0])


def spans_of(*lengths: int) -> list[Span]:
    ends = np.cumsum(lengths).tolist()
    return [Span(i, end - n, end) for i, (n, end) in enumerate(zip(lengths, ends, strict=True))]


def test_short_segments_run_together() -> None:
    spans = spans_of(1, 2, 1)
    assert divide(spans, RANK_S, limit=1000) == [tuple(spans)]


def test_long_segment_runs_alone_beside_the_others() -> None:
    spans = spans_of(1, 200, 2)
    assert divide(spans, RANK_S, limit=1000) == [(spans[1],), (spans[0], spans[2])]


def test_every_segment_alone_where_a_group_costs_nothing() -> None:
    spans = spans_of(5, 7, 6)
    assert divide(spans, RANK_S, limit=-1) == [(spans[1],), (spans[2],), (spans[0],)]


def test_one_segment_is_one_group() -> None:
    spans = spans_of(500)
    assert divide(spans, RANK_S[:1], limit=1000) == [tuple(spans)]
    assert divide([], RANK_S[:0], limit=1000) == []


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("site", SITES.values(), ids=SITES)
@pytest.mark.parametrize("base_rows", [0, 70])
def test_long_and_short_segments_in_one_step_equal_the_definition(
    name: str, site: Site, base_rows: int
) -> None:
    """Rows enough that two segments run alone; their slots lack a slice and target all."""
    lengths = [3, 1, 2000, 1, 5, 1500, 2, 1]
    slot_T = np.repeat(np.arange(-1, len(lengths)), [base_rows, *lengths])
    slot_T = np.random.default_rng(0).permutation(slot_T).astype(np.int32)
    arena, segments = loaded_arena(DTYPES[name]), group_rows(slot_T)
    limit = 15e6 / (2 * (site.in_features + sum(site.out_features) / len(site.out_features)))
    ranks = arena.table.rank_C / arena.table.num_slices
    assert len(divide(segments.spans, ranks, limit=limit)) > 1
    x_TK = torch.randn(len(slot_T), site.in_features).to(DTYPES[name])
    got = x_TK.new_zeros(len(slot_T), sum(site.out_features))
    want = got.clone()
    arena.add_lora(got, x_TK, segments, site)
    by_definition(want, x_TK, segments, arena, site)
    assert_near("delta", got, want, tolerance=TOLERANCE[DTYPES[name]])


class Bench:
    """A CpuLora of its own over a loaded arena, and what it adds to zero."""

    def __init__(self, *, max_bytes: int = 1 << 30) -> None:
        self.loader = Loader(torch.float32, num_elements=400_000, num_slots=8, device="cpu")
        for slot in range(len(RANKS)):
            self.loader.load(slot, {QKV: adapter(slot)[QKV]})
        self.arena = self.loader.arena
        self.lora = CpuLora(self.arena.data, self.arena.table, max_bytes=max_bytes)
        self.x_TK = torch.randn(4, 96, generator=torch.Generator().manual_seed(0))

    def delta(self, segments: Segments) -> torch.Tensor:
        y_TN = torch.zeros(4, 128)
        self.lora.add_lora(y_TN, self.x_TK, segments, QKV)
        return y_TN

    def definition(self, segments: Segments) -> torch.Tensor:
        y_TN = torch.zeros(4, 128)
        by_definition(y_TN, self.x_TK, segments, self.arena, QKV)
        return y_TN


def test_forgetting_a_slot_drops_its_stacks_and_no_others() -> None:
    bench = Bench()
    with_5, without_5 = group_rows(np.array([5, 1, 3, 1])), group_rows(np.array([0, 1, 3, 1]))
    before_with, before_without = bench.delta(with_5), bench.delta(without_5)
    bench.arena.data.zero_()
    assert torch.equal(bench.delta(with_5), before_with)  # the stacks are copies
    bench.lora.forget(5)
    assert not bench.delta(with_5).any()
    assert torch.equal(bench.delta(without_5), before_without)


def test_copies_stay_within_the_limit_and_results_right() -> None:
    bench = Bench(max_bytes=300_000)
    sets = [[0, 1, 3, 5], [1, 3, 5, 6], [0, 5, 6, 6], [0, 1, 3, 5], [3, 1, 0, 0]]
    for slots in sets:
        segments = group_rows(np.array(slots))
        assert_near(f"{slots}", bench.delta(segments), bench.definition(segments), tolerance=1e-5)
        assert 0 < bench.lora.num_bytes <= 300_000
    for slot in range(8):
        bench.lora.forget(slot)
    assert bench.lora.num_bytes == 0


def test_set_larger_than_the_limit_stays_while_it_is_in_use() -> None:
    bench = Bench(max_bytes=1)
    segments = group_rows(np.array([0, 1, 3, 5]))
    before = bench.delta(segments)
    bench.arena.data.zero_()
    assert torch.equal(bench.delta(segments), before)


@torch.inference_mode()
def test_single_adapter_is_read_in_place() -> None:
    bench = Bench()
    segments = group_rows(slots_by_law("identical", 4))
    assert_near("delta", bench.delta(segments), bench.definition(segments), tolerance=1e-5)
    assert bench.lora.num_bytes == 0
