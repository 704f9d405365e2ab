import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from weft.kernels import Half, OffsetTable, Site
from weft.kernels.table import Row


def test_outputs_of_a_site_are_consecutive() -> None:
    site = Site(in_features=8, out_features=(4, 2, 3), first=5)
    assert site.outputs == (slice(0, 4), slice(4, 6), slice(6, 9))
    assert site.columns == slice(5, 8)


def test_halves_meet_the_input_whole_and_the_output_in_columns() -> None:
    site = Site(in_features=8, out_features=(4, 2), first=0)
    assert (site.width(Half.A), site.width(Half.B)) == (8, 6)
    assert site.met_by(Half.A) == (slice(0, 8), slice(0, 8))
    assert site.met_by(Half.B) == (slice(0, 4), slice(4, 6))


def new_table() -> OffsetTable:
    return OffsetTable(3, 4, max_rank=16, device=torch.device("cpu"))


def random_row(seed: int) -> Row:
    draw = np.random.default_rng(seed)
    a_at, b_at = draw.integers(0, 1 << 40, (2, 4))
    return Row(a_at, b_at, draw.integers(0, 17, 4).astype(np.int32))


def test_written_row_is_on_the_device_and_in_the_mirror() -> None:
    table, row = new_table(), random_row(0)
    table.write(1, row)
    for name, values in row._asdict().items():
        tensor = getattr(table, name)
        assert tensor[1].tolist() == values.tolist(), name
        assert not tensor[[0, 2]].any(), name
    assert table.at(Half.A) is table.a_at
    assert table.at(Half.B) is table.b_at
    mirror = table.row(1, Site(in_features=1, out_features=(1, 1), first=1))
    assert [column.tolist() for column in mirror] == [column[1:3].tolist() for column in row]
    assert table.rank_C.tolist() == [0, row.rank.sum(), 0]


def test_offsets_are_int64_and_ranks_int32() -> None:
    table = new_table()
    assert table.a_at.dtype == table.b_at.dtype == torch.int64
    assert table.rank.dtype == torch.int32


def test_later_change_of_the_given_arrays_changes_nothing() -> None:
    table, row = new_table(), random_row(1)
    before = row.rank.tolist()
    table.write(0, row)
    row.rank[:] = 0
    assert table.rank[0].tolist() == before


def test_cleared_row_is_absent_everywhere() -> None:
    table = new_table()
    for slot in range(3):
        table.write(slot, random_row(slot))
    table.clear(1)
    assert not table.rank[1].any()
    assert table.rank[[0, 2]].any(dim=1).all()
    assert table.rank_C[1] == 0


WRITES = st.lists(st.tuples(st.integers(0, 2), st.none() | st.integers(0, 1000)), max_size=12)


@given(WRITES)
def test_device_mirror_and_weights_agree_after_any_writes(
    writes: list[tuple[int, int | None]],
) -> None:
    """A seed writes a row, None clears it: each slot holds the last."""
    table = new_table()
    last: dict[int, int | None] = {}
    for slot, seed in writes:
        if seed is None:
            table.clear(slot)
        else:
            table.write(slot, random_row(seed))
        last[slot] = seed
    everywhere = Site(in_features=1, out_features=(1,) * 4, first=0)
    for slot in range(3):
        seed, mirror = last.get(slot), table.row(slot, everywhere)
        ranks = [0] * 4 if seed is None else random_row(seed).rank.tolist()
        assert table.rank[slot].tolist() == mirror.rank.tolist() == ranks
        assert table.rank_C[slot] == sum(ranks)
        if seed is not None:
            row = random_row(seed)
            assert table.a_at[slot].tolist() == mirror.a_at.tolist() == row.a_at.tolist()
            assert table.b_at[slot].tolist() == mirror.b_at.tolist() == row.b_at.tolist()
