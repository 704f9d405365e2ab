"""Candidates differ from the tiles in use by one field, and are checked like any contender."""

from dataclasses import asdict, replace

import pytest
import torch

from weft.bench.floors import Ceilings
from weft.bench.tile_cases import TILES, candidates, make_tile_case, tile_cells
from weft.bench.trials import run_case
from weft.kernels.tiles import EXPAND, SHRINK


@pytest.mark.parametrize("m_tile", [16, 64, 128])
def test_candidate_changes_one_field_and_is_named_by_it(m_tile: int) -> None:
    found = list(candidates(m_tile))
    assert len({contender.name for contender in found}) == len(found) > 20
    for contender in found:
        half, change = contender.name.split()
        used = asdict(SHRINK[m_tile] if half == "shrink" else EXPAND[m_tile])
        tile = contender.shrink_tile or contender.expand_tile
        assert tile is not None
        ((name, value),) = asdict(tile).items() - used.items()
        assert change == f"{name}={value}"


def test_candidates_are_right_too() -> None:
    (cell,) = tile_cells(small=True)
    case = make_tile_case(cell, seed=0, device=torch.device("cpu"), dtype=torch.float32)
    assert (case.name, case.parameters["op"]) == (f"{TILES} {cell}", TILES)
    names = ("weft", "shrink block_k=64", "expand strip=256")
    few = replace(case, makers={name: case.makers[name] for name in names})
    outcome = run_case(few, None, Ceilings(1, 1))
    assert {name for name, _ in outcome.errors} == set(names)
