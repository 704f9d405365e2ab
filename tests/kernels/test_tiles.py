import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from weft.kernels.tiles import EXPAND, SHRINK, num_programs, split_k

SHARED_LIMIT = {80: 166_912, 90: 232_448, 100: 232_448}  # bytes per block
COMPILER = Path(__file__).with_name("ahead_of_time.py")


def test_every_kernel_and_tile_compiles_without_a_spill(pytestconfig: pytest.Config) -> None:
    assert pytestconfig.cache is not None
    cache = {"TRITON_CACHE_DIR": str(pytestconfig.cache.mkdir("triton"))}
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    command = [sys.executable, str(COMPILER), *map(str, SHARED_LIMIT)]
    child = subprocess.run(
        command, env=environment | cache, capture_output=True, text=True, check=False
    )
    assert child.returncode == 0, child.stderr
    report = json.loads(child.stdout)
    assert len(report) == len(SHARED_LIMIT) * (len(SHRINK) + len(EXPAND))
    for build in report:
        assert build["STACK"] == build["LOCAL"] == 0, f"spills: {build}"
        assert 0 < build["shared"] <= SHARED_LIMIT[build["capability"]], build
        assert 0 < build["REG"] <= 255, build


@pytest.mark.parametrize("m_tile", SHRINK)
def test_splits_have_at_least_two_steps_where_there_are_that_many(m_tile: int) -> None:
    tile = SHRINK[m_tile]
    for in_features in (1, 63, 64, 100, 768, 1290, 4096, 14336):
        splits = split_k(in_features, m_tile)
        assert 1 <= splits <= tile.splits
        assert splits == 1 or in_features >= 2 * splits * tile.block_k


def test_shrink_and_expand_know_the_same_tile_regimes() -> None:
    assert set(SHRINK) == set(EXPAND) == {16, 64, 128}


def test_interpreter_runs_few_programs() -> None:
    assert num_programs(torch.device("cpu")) == 3
