from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numba import carray

from weft.kernels import threads
from weft.kernels.threads import (
    barrier,
    compile_loop,
    loops_folder,
    pointer,
    run_loop,
    thread_num,
)

LIBRARIES = Path("/proc/self/maps")


@pytest.fixture(params=[1, 2, 3])
def num_threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def note_twice(arguments: Any) -> None:
    """Each thread notes itself; behind the barrier, how many had done so and how many there are."""
    frame = carray(arguments, 2, np.int64)
    seen = carray(pointer(frame[0]), (3, 4), np.int64)
    thread = thread_num()
    seen[0, thread] = thread + frame[1]
    barrier()
    seen[1, thread] = np.count_nonzero(seen[0])
    seen[2, thread] = threads.num_threads()


def test_every_thread_runs_and_waits_for_the_others(num_threads: int) -> None:
    loop, seen = compile_loop(note_twice), torch.zeros(3, 4, dtype=torch.int64)
    for _ in range(50):
        seen.zero_()
        run_loop(loop, seen.data_ptr(), 10)
        rest = [0] * (4 - num_threads)
        assert seen.tolist() == [
            [10 + i for i in range(num_threads)] + rest,
            [num_threads] * num_threads + rest,
            [num_threads] * num_threads + rest,
        ]


def add_one(arguments: Any) -> None:
    frame = carray(arguments, 1, np.int64)
    carray(pointer(frame[0]), 1, np.int64)[0] += 1


@pytest.mark.parametrize(("writable", "hits"), [(True, [0, 1]), (False, [0, 0])])
def test_loop_is_compiled_once_where_its_code_can_be_kept(
    writable: bool, hits: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path if writable else tmp_path / "file"
    if not writable:
        cache.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    loops, counted = [compile_loop(add_one) for _ in hits], torch.zeros(1, dtype=torch.int64)
    assert [loop.cache_hits for loop in loops] == hits
    for loop in loops:
        run_loop(loop, counted.data_ptr())
    assert counted.item() == len(loops) * torch.get_num_threads()


def test_code_of_other_sources_lies_elsewhere(tmp_path: Path) -> None:
    source = tmp_path / "loop.py"
    source.write_text("a = 1")
    before = loops_folder(tmp_path)
    source.write_text("a = 2")
    assert loops_folder(tmp_path) != before
    source.write_text("a = 1")
    assert loops_folder(tmp_path) == before


def test_threads_are_those_of_torch() -> None:
    """One OpenMP runtime in the process: the one that torch came with."""
    found = {line.split()[-1] for line in LIBRARIES.read_text().splitlines() if "omp" in line}
    runtimes = [path for path in found if Path(path).name.startswith(("libgomp", "libiomp"))]
    assert len(runtimes) == 1, runtimes
