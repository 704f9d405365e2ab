"""Which lane of the device's block table is whose.

The table of every sequence that runs stays on the device; a step sends what has changed in it.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from .sequence import Sequence


class Write(NamedTuple):
    """Entries of a lane's row, from `first` on, that the device does not have yet."""

    lane: int
    first: int
    blocks: list[int]


@dataclass(slots=True)
class Lane:
    """`table` is the sequence's own list, of which the device has `num_known` entries.

    Attributes:
        tail: Those of them that may still change, as the device has them.
    """

    number: int
    table: list[int]
    num_known: int = 0
    tail: list[int] = field(default_factory=list)


class Lanes:
    """Gives every sequence of a step a lane; who has not run for longest loses his.

    An entry is final, as long as the sequence keeps its list, once its block has become full: that
    is when it can turn out to be computed already.
    """

    def __init__(self, num_lanes: int, *, block_tokens: int) -> None:
        self._block_tokens = block_tokens
        self._free = list(range(num_lanes - 1, -1, -1))
        self._lanes: OrderedDict[Sequence, Lane] = OrderedDict()

    def place(self, sequences: Iterable[Sequence]) -> tuple[list[int], list[Write]]:
        """Answer each sequence's lane, and what to write before the step reads the table.

        The sequences are different ones, and no more than there are lanes.
        """
        lanes, writes = [], []
        for sequence in sequences:
            lane = self._lane_of(sequence)
            num_final = sequence.num_computed // self._block_tokens
            write = _catch_up(lane, num_final)
            lanes.append(lane)
            writes += [write] if write else []
        return [lane.number for lane in lanes], writes

    def _lane_of(self, sequence: Sequence) -> Lane:
        lane = self._lanes.get(sequence)
        if lane is None:
            number = self._free.pop() if self._free else self._lanes.popitem(last=False)[1].number
            lane = self._lanes[sequence] = Lane(number, sequence.blocks)
        elif lane.table is not sequence.blocks:
            lane.table, lane.num_known, lane.tail = sequence.blocks, 0, []
        self._lanes.move_to_end(sequence)
        return lane


def _catch_up(lane: Lane, num_final: int) -> Write | None:
    """What the device lacks, from the first entry on that differs."""
    first = lane.num_known - len(lane.tail)
    found = lane.table[first:]
    known, lane.tail = lane.tail, lane.table[num_final:]
    lane.num_known = len(lane.table)
    if found == known:
        return None
    same = next(
        (n for n, pair in enumerate(zip(found, known, strict=False)) if pair[0] != pair[1]),
        len(known),
    )
    return Write(lane.number, first + same, found[same:])
