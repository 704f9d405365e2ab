"""Choose tiles at start-up: time a few for a model's own sites on its own device.

No candidate changes SPLIT_K, or the order of a sum that the kernels write down: within a split the
in-features are added in steps of 16 whatever the tile, ranks likewise. So choices of two processes
are expected to give the same bits, as the same tiles on another GPU do; it is not promised, as the
compiler may pick other instructions. Within one process a shape keeps its tiles.
"""

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from math import prod
from statistics import median
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from .expand import expand
from .segments import group_rows
from .shrink import shrink
from .table import OffsetTable, Row, Site
from .tiles import EXPAND, SHRINK, ExpandTile, Shape, ShrinkTile, Tiles

logger = logging.getLogger(__name__)

Tile = TypeVar("Tile", ShrinkTile, ExpandTile)
Measure = Callable[[Callable[[], object]], float]

MARGIN = 0.97  # a candidate has to win by more than the spread of a repeated measurement
FLUSH_BYTES = 256 << 20
ALIGNMENT = 128  # elements: 128 bytes and more
SHRINK_CANDIDATES = {
    16: (SHRINK[16], replace(SHRINK[16], num_stages=4, programs_per_sm=3)),
    64: (SHRINK[64], replace(SHRINK[64], num_stages=4)),
}
EXPAND_CANDIDATES = {
    16: (EXPAND[16], replace(EXPAND[16], strip=256), replace(EXPAND[16], strip=1024)),
    64: (EXPAND[64], replace(EXPAND[64], strip=256), replace(EXPAND[64], strip=1024)),
}


@dataclass(frozen=True, slots=True)
class Cell:
    """A step to time: `num_rows` rows, the same number for each of `num_slots` adapters."""

    num_rows: int
    num_slots: int
    rank: int


CELLS = {
    16: (Cell(1, 1, 16), Cell(8, 8, 64), Cell(32, 32, 16)),
    64: (Cell(512, 1, 16), Cell(2048, 8, 16)),
}


def tuned_tiles(sites: Collection[Site], *, dtype: torch.dtype, device: torch.device) -> Tiles:
    """What `tune` finds on a CUDA device; on a CPU, which has no use for tiles, the table's."""
    if device.type != "cuda":
        return Tiles()
    begin = time.monotonic()
    tiles = tune(sites, dtype=dtype, device=device, measure=cuda_stopwatch(device))
    torch.cuda.empty_cache()  # the caller is about to divide the device's memory
    logger.info(
        "tuned %d tiles in %.1f s: %s %s",
        len(tiles.shrink) + len(tiles.expand),
        time.monotonic() - begin,
        tiles.shrink,
        tiles.expand,
    )
    return tiles


def tune(
    sites: Collection[Site],
    *,
    dtype: torch.dtype,
    device: torch.device,
    measure: Measure,
    cells: Mapping[int, Sequence[Cell]] = CELLS,
    budget_s: float = 10.0,
    clock: Callable[[], float] = time.monotonic,
) -> Tiles:
    """Time the candidates of every shape among `sites`, and keep those that win.

    A shape that the budget leaves untimed keeps the table's tiles: a later start finds compiled
    kernels on disk and comes further. The shape in hand is finished, whatever the budget.

    Args:
        measure: Calls a launch as often as it likes; how long it takes, in any unit.
    """
    end = clock() + budget_s
    shapes = {site.shape: replace(site, first=0) for site in sites}
    narrow: dict[tuple[Shape, int], ShrinkTile] = {}
    wide: dict[tuple[Shape, int], ExpandTile] = {}
    for m_tile, shape in product(cells, sorted(shapes)):
        if clock() >= end:
            break
        steps = [
            _Step(shapes[shape], cell, m_tile, dtype=dtype, device=device) for cell in cells[m_tile]
        ]
        shrinks, expands = [step.shrink for step in steps], [step.expand for step in steps]
        narrow[shape, m_tile] = choose(SHRINK_CANDIDATES[m_tile], shrinks, measure)
        wide[shape, m_tile] = choose(EXPAND_CANDIDATES[m_tile], expands, measure)
    return Tiles(narrow, wide)


def choose(
    candidates: Sequence[Tile], launches: Sequence[Callable[[Tile], object]], measure: Measure
) -> Tile:
    """The candidate with the smallest product of durations, if it beats the first one clearly."""
    scores = [prod(measure(partial(launch, tile)) for launch in launches) for tile in candidates]
    best = scores.index(min(scores))
    clear = scores[best] < scores[0] * MARGIN ** len(launches)
    return candidates[best if clear else 0]


class _Step:
    """Random adapters, rows and planes of one cell at a site, and its two launches."""

    def __init__(
        self, site: Site, cell: Cell, m_tile: int, *, dtype: torch.dtype, device: torch.device
    ) -> None:
        num_slices, slots = len(site.out_features), np.arange(cell.num_slots, dtype=np.int32)
        widths = np.array([[site.in_features] * num_slices, site.out_features])
        sizes = -(-widths * cell.rank // ALIGNMENT) * ALIGNMENT
        ends = np.cumsum(np.tile(sizes.ravel(), cell.num_slots))
        a_at, b_at = (ends.reshape(-1, *sizes.shape) - sizes).transpose(1, 0, 2)
        self._site = site
        self._table = OffsetTable(cell.num_slots, num_slices, max_rank=cell.rank, device=device)
        for slot in range(cell.num_slots):
            ranks = np.full(num_slices, cell.rank, np.int32)
            self._table.write(slot, Row(a_at[slot], b_at[slot], ranks))
        self._segments = group_rows(
            np.resize(slots, cell.num_rows), m_tile=m_tile, rank_C=self._table.rank_C
        ).to(device)

        def random(*shape: int) -> Tensor:
            return torch.randn(shape, dtype=dtype, device=device)

        self._arena = random(int(ends[-1]))
        self._x_TK = random(cell.num_rows, site.in_features)
        self._y_TN = random(cell.num_rows, sum(site.out_features))
        self._v = self.shrink(SHRINK[m_tile])

    def shrink(self, tile: ShrinkTile) -> Tensor:
        arena, table, site = self._arena, self._table, self._site
        return shrink(self._x_TK, self._segments, arena=arena, table=table, site=site, tile=tile)

    def expand(self, tile: ExpandTile) -> None:
        arena, table, site = self._arena, self._table, self._site
        y_TN, v = self._y_TN, self._v
        expand(y_TN, v, self._segments, arena=arena, table=table, site=site, tile=tile)


def cuda_stopwatch(device: torch.device) -> Measure:
    """Measure a launch on the GPU in milliseconds, L2 flushed before each: the median of ten.

    The flush outlasts the queueing of what follows, so that no launch is waited for.
    """
    flush = torch.empty(FLUSH_BYTES, dtype=torch.int8, device=device)

    def measure(launch: Callable[[], object]) -> float:
        launch()  # compiles
        return median(_time_once(launch, flush) for _ in range(10))

    return measure


def _time_once(launch: Callable[[], object], flush: Tensor) -> float:
    begin = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    flush.zero_()
    begin.record()
    launch()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end))
