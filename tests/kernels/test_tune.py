from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from weft.kernels import Site
from weft.kernels.tiles import EXPAND, SHRINK, ShrinkTile, Tiles
from weft.kernels.tune import (
    EXPAND_CANDIDATES,
    SHRINK_CANDIDATES,
    Cell,
    choose,
    cuda_stopwatch,
    tune,
    tuned_tiles,
)

from .cases import OUT, QKV, compiled, interpreted

CELLS = {16: (Cell(1, 1, 4), Cell(3, 2, 20))}


class Stopwatch:
    """Runs each launch once and answers the next duration; its clock ticks once per launch."""

    def __init__(self, durations: list[float]) -> None:
        self.durations = durations
        self.num_launches = 0

    def measure(self, launch: Callable[[], object]) -> float:
        launch()
        self.num_launches += 1
        return self.durations[(self.num_launches - 1) % len(self.durations)]

    def clock(self) -> float:
        return float(self.num_launches)


def run_tune(sites: list[Site], stopwatch: Stopwatch, *, budget_s: float = 1e9) -> Tiles:
    return tune(
        sites,
        dtype=torch.float32,
        device=torch.device("cpu"),
        measure=stopwatch.measure,
        cells=CELLS,
        budget_s=budget_s,
        clock=stopwatch.clock,
    )


@interpreted
def test_fastest_tile_of_each_shape_is_kept() -> None:
    """Of two candidates and two cells, then of three and two."""
    stopwatch = Stopwatch([2, 2, 2, 1, 3, 3, 3, 3, 2, 3])
    other_layer = replace(OUT, first=QKV.first + 4)
    tiles = run_tune([OUT, other_layer], stopwatch)
    assert stopwatch.num_launches == 10
    assert tiles.for_shrink(OUT.shape, 16) == SHRINK_CANDIDATES[16][1]
    assert tiles.for_expand(other_layer.shape, 16) == EXPAND_CANDIDATES[16][2]
    assert tiles.for_shrink(OUT.shape, 64) == SHRINK[64]


@interpreted
def test_shapes_beyond_the_budget_keep_the_tables_tiles() -> None:
    stopwatch = Stopwatch([2, 2, 1, 1, 2, 2, 1, 1, 2, 2])
    tiles = run_tune([QKV, OUT], stopwatch, budget_s=5)
    assert stopwatch.num_launches == 10
    assert list(tiles.shrink) == list(tiles.expand) == [(OUT.shape, 16)]
    assert tiles.for_shrink(QKV.shape, 16) == SHRINK[16]
    assert tiles.for_expand(QKV.shape, 16) == EXPAND[16]


@pytest.mark.parametrize(("duration", "wins"), [(0.99, False), (0.9, True)])
def test_candidate_has_to_win_clearly(duration: float, wins: bool) -> None:
    first, second = SHRINK_CANDIDATES[16]
    timed: list[ShrinkTile] = []
    durations = iter([1.0, 1.0, duration, duration])

    def measure(launch: Callable[[], object]) -> float:
        launch()
        return next(durations)

    chosen = choose([first, second], [timed.append, timed.append], measure)
    assert timed == [first, first, second, second]
    assert chosen == (second if wins else first)


def test_first_candidate_is_the_tables() -> None:
    assert {m_tile: tiles[0] for m_tile, tiles in SHRINK_CANDIDATES.items()} == {
        m_tile: SHRINK[m_tile] for m_tile in (16, 64)
    }
    assert {m_tile: tiles[0] for m_tile, tiles in EXPAND_CANDIDATES.items()} == {
        m_tile: EXPAND[m_tile] for m_tile in (16, 64)
    }


def test_cpu_keeps_the_table() -> None:
    tiles = tuned_tiles([QKV], dtype=torch.float32, device=torch.device("cpu"))
    assert tiles == Tiles()


@pytest.mark.gpu
@compiled
def test_every_candidate_runs_on_the_device() -> None:
    device = torch.device("cuda")
    site = Site(in_features=1024, out_features=(1024, 256), first=0)
    tiles = tune([site], dtype=torch.bfloat16, device=device, measure=cuda_stopwatch(device))
    assert set(tiles.shrink) == set(tiles.expand) == {(site.shape, 16), (site.shape, 64)}
