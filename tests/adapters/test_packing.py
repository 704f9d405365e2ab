"""Examples to batches."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from weft.adapters.packing import (
    MAX_HELD_OUT_ROWS,
    lay_out,
    make_micro_batches,
    pack,
    plan_steps,
    split_rows,
)
from weft.adapters.template import Example

from .chats import orders, read_rows

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=60)


def example(row: int, length: int, *, first_trained: int) -> Example:
    ids = np.arange(row * 100, row * 100 + length)
    return Example(row, ids, np.arange(length) >= first_trained)


@given(lengths=LENGTHS, capacity=st.integers(1, 64))
def test_every_example_is_in_one_pack_and_no_pack_overflows(
    lengths: list[int], capacity: int
) -> None:
    packs = pack(lengths, capacity)

    assert Counter(i for members in packs for i in members) == Counter(range(len(lengths)))
    for members in packs:
        assert sum(lengths[i] for i in members) <= capacity or len(members) == 1


def test_longest_goes_first_into_the_fullest_pack_that_fits() -> None:
    assert pack([3, 7, 5, 2, 3], 10) == ((1, 0), (2, 4, 3))


@given(lengths=LENGTHS, batch_tokens=st.integers(1, 200), epochs=st.sampled_from([0.5, 1, 2, 2.5]))
def test_steps_pass_over_the_set_as_often_as_asked(
    lengths: list[int], batch_tokens: int, epochs: float
) -> None:
    steps = plan_steps(lengths, batch_tokens=batch_tokens, epochs=epochs, seed=1)

    taken = [i for step in steps for i in step]
    assert len(taken) == round(epochs * len(lengths))
    counts = Counter(taken)
    assert all(int(epochs) <= counts[i] <= int(epochs) + 1 for i in range(len(lengths)))
    for step in steps:
        assert sum(lengths[i] for i in step) <= batch_tokens or len(step) == 1


def test_order_depends_on_seed_and_epoch() -> None:
    lengths = [1] * 50
    first, second = (plan_steps(lengths, batch_tokens=50, epochs=2, seed=seed) for seed in (1, 2))
    assert first == plan_steps(lengths, batch_tokens=50, epochs=2, seed=1)
    assert len({*first, *second}) == 4


def test_split_keeps_a_rows_side_when_others_are_added(tmp_path: Path) -> None:
    rows = read_rows(tmp_path / "rows.jsonl", orders(400))
    train, held_out = split_rows(rows, 0.1, seed=1)
    assert len(train) + len(held_out) == 400
    assert 20 < len(held_out) < 60

    few, few_held_out = split_rows(rows[:200], 0.1, seed=1)
    assert {r.digest for r in few} <= {r.digest for r in train}
    assert {r.digest for r in few_held_out} <= {r.digest for r in held_out}
    other = split_rows(rows, 0.1, seed=2)[1]
    assert {r.digest for r in other} != {r.digest for r in held_out}


def test_equal_rows_share_a_side(tmp_path: Path) -> None:
    rows = read_rows(tmp_path / "rows.jsonl", orders(30) * 2)
    train, held_out = split_rows(rows, 0.5, seed=1)
    assert not {r.digest for r in train} & {r.digest for r in held_out}
    assert 0 < len(held_out) < 60


def test_small_part_still_has_a_row_and_a_large_one_at_most_500(tmp_path: Path) -> None:
    few = read_rows(tmp_path / "few.jsonl", orders(3))
    assert len(split_rows(few, 1e-9, seed=1)[1]) == 1
    assert split_rows(few, 0.0, seed=1) == (few, ())
    assert split_rows(few[:1], 1e-9, seed=1) == (few[:1], ())
    many = read_rows(tmp_path / "many.jsonl", orders(1200))
    assert len(split_rows(many, 0.5, seed=1)[1]) == MAX_HELD_OUT_ROWS


def test_pack_keeps_positions_and_targets_of_each_row() -> None:
    batch = lay_out([example(1, 3, first_trained=2), example(2, 4, first_trained=1)])

    assert batch.ids_T.tolist() == [100, 101, 102, 200, 201, 202, 203]
    assert batch.positions_T.tolist() == [0, 1, 2, 0, 1, 2, 3]
    assert batch.source_at.tolist() == [1, 3, 4, 5]
    assert batch.targets.tolist() == [102, 201, 202, 203]
    assert batch.rows == (1, 2)


@pytest.mark.parametrize(("capacity", "num_batches"), [(None, 3), (4, 3), (8, 2), (100, 1)])
def test_capacity_decides_which_rows_share_a_micro_batch(
    capacity: int | None, num_batches: int
) -> None:
    examples = [example(row, 4, first_trained=1) for row in range(3)]

    batches = make_micro_batches(examples, capacity=capacity)

    assert len(batches) == num_batches
    assert sorted(row for batch in batches for row in batch.rows) == [0, 1, 2]
    assert all(batch.to(torch.device("cpu")).rows == batch.rows for batch in batches)
