"""The device's block table follows the sequences' own, and a step sends only what has changed."""

import random

import pytest

from weft.server.engine.lanes import Lanes, Write
from weft.server.engine.sequence import Sequence, alone


def sequence(*blocks: int) -> Sequence:
    made = alone([1], num_blocks=0)
    made.blocks = list(blocks)
    return made


def test_first_step_sends_the_whole_table_and_a_step_within_a_block_nothing() -> None:
    lanes, one, two = Lanes(2, block_tokens=4), sequence(5, 6, 7), sequence(3)
    numbers, writes = lanes.place([one, two])
    assert writes == [Write(numbers[0], 0, [5, 6, 7]), Write(numbers[1], 0, [3])]
    assert lanes.place([two, one]) == (numbers[::-1], [])


def test_every_entry_may_change_that_a_chunk_of_a_prompt_filled_and_none_before() -> None:
    lanes, one = Lanes(1, block_tokens=4), sequence(5, 6, 7, 8)
    one.num_computed = 4
    lanes.place([one])
    one.num_computed = 16
    one.blocks[1:] = [9, 7, 8, 2]
    assert lanes.place([one])[1] == [Write(0, 1, [9, 7, 8, 2])]
    one.blocks[2] = 3  # which cannot be: its block was full
    assert lanes.place([one])[1] == []


def test_a_new_block_brings_the_one_before_along() -> None:
    lanes, one = Lanes(1, block_tokens=4), sequence(5, 6)
    lanes.place([one])
    one.blocks[1] = 9  # turned out to be computed already
    one.blocks.append(2)
    assert lanes.place([one])[1] == [Write(0, 1, [9, 2])]


def test_either_of_the_last_two_may_change_after_it_was_sent() -> None:
    """A step that runs ahead has sent the next block before the one that filled is published."""
    lanes, one = Lanes(1, block_tokens=4), sequence(5, 6)
    lanes.place([one])
    one.blocks.append(2)
    assert lanes.place([one])[1] == [Write(0, 2, [2])]
    one.blocks[1] = 9
    assert lanes.place([one])[1] == [Write(0, 1, [9, 2])]
    assert lanes.place([one])[1] == []


def test_a_new_list_is_sent_whole() -> None:
    lanes, one = Lanes(1, block_tokens=4), sequence(5, 6)
    lanes.place([one])
    one.blocks = [5, 6]
    assert lanes.place([one])[1] == [Write(0, 0, [5, 6])]


@pytest.mark.parametrize("seed", range(5))
def test_table_equals_the_sequences_own_whatever_happens(seed: int) -> None:
    draw = random.Random(seed)
    lanes = Lanes(4, block_tokens=4)
    table = [[-1] * 40 for _ in range(4)]
    living = [sequence(draw.randrange(99)) for _ in range(7)]
    for _ in range(300):
        which = draw.randrange(7)
        match draw.randrange(7):
            case 0:
                living[which] = sequence(*draw.choices(range(99), k=draw.randint(1, 9)))
            case 1:
                living[which].blocks = draw.choices(range(99), k=draw.randint(1, 9))
            case 2 if len(living[which].blocks) < 40:
                living[which].blocks[-1] = draw.randrange(99)
                living[which].blocks.append(draw.randrange(99))
            case 3:
                living[which].blocks[-draw.randint(1, min(2, len(living[which].blocks)))] = 7
        step = draw.sample(living, draw.randint(1, 4))
        numbers, writes = lanes.place(step)
        for write in writes:
            table[write.lane][write.first : write.first + len(write.blocks)] = write.blocks
        assert len(set(numbers)) == len(step)
        for number, placed in zip(numbers, step, strict=True):
            assert table[number][: len(placed.blocks)] == placed.blocks
