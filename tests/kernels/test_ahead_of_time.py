import json
import os
import subprocess
import sys

import pytest

from .ahead_of_time import FAMILIES
from .build import Report, count_loads
from .builds_rows import NARROW_LOADS, REGISTERS

SHARED_LIMIT = {80: 166_912, 90: 232_448, 100: 232_448}  # bytes per block


@pytest.fixture(scope="module")
def reports(pytestconfig: pytest.Config) -> list[Report]:
    """Every build for every capability, from a process that does not interpret."""
    assert pytestconfig.cache is not None
    cache = {"TRITON_CACHE_DIR": str(pytestconfig.cache.mkdir("triton"))}
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    child = subprocess.run(
        [sys.executable, "-m", "tests.kernels.ahead_of_time", *map(str, SHARED_LIMIT)],
        cwd=pytestconfig.rootpath,
        env=environment | cache,
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    found: list[Report] = json.loads(child.stdout)
    return found


def test_every_kernel_and_tile_compiles_without_a_spill(reports: list[Report]) -> None:
    names = [build.name for family in FAMILIES for build in family.builds()]
    assert len(set(names)) == len(names)
    assert [(report["capability"], report["name"]) for report in reports] == [
        (capability, name) for capability in SHARED_LIMIT for name in names
    ]
    for report in reports:
        assert report["stack"] == report["local"] == 0, f"spills: {report}"
        assert report["shared"] <= SHARED_LIMIT[report["capability"]], report
        assert 0 < report["registers"] <= 255, report


def test_row_ops_load_16_bytes_at_a_time_in_few_registers(reports: list[Report]) -> None:
    rows = [report for report in reports if report["name"] in REGISTERS]
    assert len(rows) == len(SHARED_LIMIT) * len(REGISTERS)
    for report in rows:
        assert report["registers"] <= REGISTERS[report["name"]], report
        narrow = sum(count for width, count in report["loads"].items() if width != "16")
        assert narrow <= NARROW_LOADS.get(report["name"], 0) < report["loads"]["16"], report


def test_loads_are_counted_by_their_width() -> None:
    ptx = """
    @%p1 ld.global.v4.b32 { %r5, %r6, %r7, %r8 }, [ %rd3 + 0 ];
    ld.global.L1::evict_last.v2.b64 { %rd1, %rd2 }, [ %rd4 + 0 ];
    ld.global.b16 { %rs1 }, [ %rd5 + 0 ];
    ld.shared.b32 %r1, [%r2];
    """
    assert count_loads(ptx) == {"16": 2, "2": 1}
