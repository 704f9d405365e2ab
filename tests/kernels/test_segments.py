import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from weft.kernels import Segments, Span, group_rows

from .cases import LAWS, slots_by_law

SLOTS = st.lists(st.integers(-1, 6), max_size=70)


def valid_items(segments: Segments) -> list[tuple[int, int, int]]:
    return [
        (int(slot), int(first), int(rows))
        for slot, first, rows in segments.items[: int(segments.counts[1])]
    ]


@given(SLOTS)
def test_segments_hold_every_adapted_row_once_by_slot_and_in_order(slots: list[int]) -> None:
    segments = group_rows(np.array(slots, np.int32))
    adapted = [row for row, slot in enumerate(slots) if slot >= 0]
    assert segments.order.tolist() == sorted(adapted, key=lambda row: (slots[row], row))
    assert segments.slot.tolist() == sorted({slots[row] for row in adapted})
    assert segments.num_rows == len(slots)
    assert len(segments.slot) == int(segments.counts[2])
    assert segments.num_adapted == len(adapted) == int(segments.counts[0])


@given(SLOTS)
def test_spans_are_the_segments_and_none_is_empty(slots: list[int]) -> None:
    segments = group_rows(np.array(slots, np.int32))
    indptr = segments.indptr.tolist()
    assert indptr[0] == 0
    assert segments.spans == tuple(map(Span, segments.slot.tolist(), indptr[:-1], indptr[1:]))
    for slot, start, stop in segments.spans:
        assert stop > start
        assert {slots[row] for row in segments.order[start:stop].tolist()} == {slot}


@given(SLOTS, st.sampled_from([1, 4, 16]))
def test_items_cover_each_position_once_within_one_segment(slots: list[int], m_tile: int) -> None:
    segments = group_rows(np.array(slots, np.int32), m_tile=m_tile)
    positions: list[int] = []
    for slot, first, rows in valid_items(segments):
        assert 1 <= rows <= m_tile
        own = range(first, first + rows)
        assert {slots[segments.order[position]] for position in own} == {slot}
        positions += own
    assert sorted(positions) == list(range(segments.num_adapted))
    bound = len(segments.spans) + len(slots) // m_tile
    assert int(segments.counts[1]) <= min(len(slots), bound)


@given(SLOTS)
def test_capacity_changes_the_room_and_not_the_content(slots: list[int]) -> None:
    exact = group_rows(np.array(slots, np.int32), m_tile=4)
    roomy = group_rows(np.array(slots, np.int32), m_tile=4, capacity=70)
    num_rows, num_items, _num_segments = exact.counts.tolist()
    assert roomy.counts.tolist() == exact.counts.tolist()
    assert len(roomy.order) == len(roomy.items) == 70
    assert torch.equal(roomy.order[:num_rows], exact.order)
    assert torch.equal(roomy.items[:num_items], exact.items)
    assert torch.equal(roomy.slot[: len(exact.slot)], exact.slot)
    assert not roomy.order[num_rows:].any()
    assert not roomy.items[num_items:].any()


def test_items_of_the_heaviest_slot_come_first() -> None:
    slot_T = np.array([0, 1, 2, 1, 0, 1], np.int32)
    segments = group_rows(slot_T, m_tile=2, rank_C=np.array([8, 64, 16]))
    assert valid_items(segments) == [(1, 2, 2), (1, 4, 1), (2, 5, 1), (0, 0, 2)]


@pytest.mark.parametrize("law", LAWS)
def test_one_copy_moves_all_five_tensors(law: str) -> None:
    segments = group_rows(slots_by_law(law, 33), capacity=40)
    buffer = torch.full_like(segments.buffer, -7)
    moved = segments.copy_into(buffer)
    for name in ("order", "slot", "indptr", "items", "counts"):
        view, original = getattr(moved, name), getattr(segments, name)
        assert torch.equal(view, original), name
        assert view.untyped_storage().data_ptr() == buffer.untyped_storage().data_ptr()
        assert view.data_ptr() % 16 == buffer.data_ptr() % 16
    assert moved.spans == segments.spans


def test_buffer_of_another_capacity_is_refused() -> None:
    segments = group_rows(np.array([0, 1]), capacity=8)
    with pytest.raises(ValueError, match=r"segments need int32 \(56,\)"):
        segments.copy_into(torch.zeros(12, dtype=torch.int32))


def test_more_rows_than_the_capacity_are_refused() -> None:
    with pytest.raises(ValueError, match="3 rows exceed the capacity of 2"):
        group_rows(np.array([0, 1, -1]), capacity=2)
