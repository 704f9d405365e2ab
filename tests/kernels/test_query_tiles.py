from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from weft.kernels.query_tiles import cut_queries

from .attention_cases import indptr


@given(
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 99)), min_size=1, max_size=9),
    st.sampled_from([1, 18, 32, 128]),
)
def test_every_row_lies_in_one_item_at_its_position(
    sizes: list[tuple[int, int]], max_rows: int
) -> None:
    new = [num for num, _ in sizes]
    kv_len = [num + before for num, before in sizes]
    queries = cut_queries(indptr(new), kv_len, max_rows=max_rows)
    found: dict[int, tuple[int, int]] = {}
    for sequence, first, rows, position in queries.items.tolist():
        assert 1 <= rows <= max_rows
        found |= {first + i: (sequence, position + i) for i in range(rows)}
    starts = indptr(new)
    assert found == {
        starts[b] + i: (b, before + i) for b, (num, before) in enumerate(sizes) for i in range(num)
    }
    assert queries.items[:, 2].sum() == sum(new)
    assert queries.counts.tolist() == [len(queries.items)]


def test_items_with_most_keys_come_first() -> None:
    queries = cut_queries([0, 1, 40, 41], [90, 50, 50], max_rows=16)
    ends = (queries.items[:, 2] + queries.items[:, 3]).tolist()
    assert all(a >= b for a, b in pairwise(ends))
    assert queries.items[:2].tolist() == [[0, 0, 1, 89], [1, 33, 7, 43]]


def test_capacity_leaves_room_that_is_zero() -> None:
    queries = cut_queries([0, 3], [3], max_rows=2, capacity=5).to(torch.device("cpu"))
    assert queries.items.tolist() == [[0, 2, 1, 2], [0, 0, 2, 0], *[[0] * 4] * 3]
    assert queries.counts.tolist() == [2]
    assert queries.items.data_ptr() % 16 == queries.counts.data_ptr() % 16 == 0


def test_more_items_than_capacity_are_refused() -> None:
    with pytest.raises(ValueError, match="3 tiles exceed the capacity of 2"):
        cut_queries([0, 5], [5], max_rows=2, capacity=2)
