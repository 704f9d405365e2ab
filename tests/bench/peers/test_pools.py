"""Pools of one rank, and which one a cell gets."""

import pytest

from weft.bench.errors import NotApplicable
from weft.bench.peers.pools import Pool, choose_pool

from .lora_cases import draw, slots_of


def test_pool_fits_the_cell_or_is_a_servers() -> None:
    inputs = draw(slots_of(0, 1), (4, 8))
    assert choose_pool(inputs) == Pool(2, 8)
    assert choose_pool(inputs, as_served=True) == Pool(64, 64)


@pytest.mark.parametrize(("num_slots", "rank"), [(65, 1), (1, 65)])
def test_what_a_server_cannot_hold_is_not_applicable(num_slots: int, rank: int) -> None:
    inputs = draw(slots_of(*range(num_slots)), (rank,) * num_slots)
    with pytest.raises(NotApplicable, match="64 slots at rank 64"):
        choose_pool(inputs, as_served=True)


def test_no_adapters_need_no_pool() -> None:
    with pytest.raises(NotApplicable, match="no adapters"):
        choose_pool(draw(slots_of(-1), ()))


def test_slices_lie_behind_one_another_at_the_slots_own_rank() -> None:
    inputs = draw(slots_of(0, 1), (2, 4), num_slices=3)
    pool = choose_pool(inputs)
    a, b = pool.stack_a(inputs), pool.stack_b(inputs)
    assert (tuple(a.shape), tuple(b.shape)) == ((2, 12, 96), (2, 96, 4))
    assert a[0, 2:4].equal(inputs.a[0][1])
    assert not a[0, 6:].any()
    assert b[0, 64:80, :2].equal(inputs.b[0][1].T)
    assert not b[0, :, 2:].any()


def test_split_pools_pad_every_slice() -> None:
    inputs = draw(slots_of(0, 1), (2, 4), num_slices=3)
    pool = choose_pool(inputs)
    a, b = pool.split_a(inputs)[1], pool.split_b(inputs)[1]
    assert (tuple(a.shape), tuple(b.shape)) == ((2, 4, 96), (2, 16, 4))
    assert a[0, :2].equal(inputs.a[0][1])
    assert not a[0, 2:].any()
    assert b[1].equal(inputs.b[1][1].T)
    assert b.is_contiguous()
