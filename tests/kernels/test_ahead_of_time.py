import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import triton

from weft.kernels.tiles import EXPAND, SHRINK, ExpandTile, ShrinkTile

from . import builds_rows
from .ahead_of_time import Reports, all_builds, by_name, to_json
from .build import Report, count, count_loads
from .builds_attention import LAYERS
from .builds_rows import NARROW_LOADS, REGISTERS

pytestmark = pytest.mark.xdist_group("compiler")  # one process builds what all tests look at

SHARED_LIMIT = {80: 166_912, 90: 232_448, 100: 232_448}  # bytes per block
SHARED_PER_SM = {80: 167_936, 90: 233_472, 100: 233_472}  # 1,024 of them per block are reserved
RECORD = Path(__file__).with_name("resources.json")
REGENERATE = "python -m tests.kernels.ahead_of_time 80 90 100 > tests/kernels/resources.json"


def read_record() -> Reports:
    found: Reports = json.loads(RECORD.read_text())
    return found


@pytest.fixture(scope="module", params=SHARED_LIMIT)
def reports(request: pytest.FixtureRequest) -> list[Report]:
    """Every build for one capability, from a process that does not interpret."""
    cache = request.config.cache
    assert cache is not None
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    child = subprocess.run(
        [sys.executable, "-m", "tests.kernels.ahead_of_time", str(request.param)],
        cwd=request.config.rootpath,
        env=environment | {"TRITON_CACHE_DIR": str(cache.mkdir("triton"))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    found: Reports = json.loads(child.stdout)
    assert {report["capability"] for report in found["reports"]} == {request.param}
    return found["reports"]


def test_every_kernel_and_tile_compiles_without_a_spill(reports: list[Report]) -> None:
    capability = reports[0]["capability"]
    names = sorted(build.name for build in all_builds(capability))
    assert [report["name"] for report in reports] == names
    assert len({report["name"] for report in reports}) == len(reports)
    for report in reports:
        assert report["stack"] == report["local"] == 0, f"spills: {report}"
        assert report["overwritten"] == 0, f"ptxas lost an operand: {report}"
        assert report["shared"] <= SHARED_LIMIT[report["capability"]], report
        assert 0 < report["registers"] <= 255, report


def test_resources_are_the_recorded_ones(reports: list[Report]) -> None:
    record = read_record()
    if record["triton"] != triton.__version__:
        pytest.skip(f"the record holds for triton {record['triton']}")
    capability = reports[0]["capability"]
    recorded = [report for report in record["reports"] if report["capability"] == capability]
    assert reports == recorded, f"where the change is wanted: {REGENERATE}"


def test_record_has_a_line_per_build_and_capability() -> None:
    builds = [(build.name, at) for at in SHARED_LIMIT for build in all_builds(at)]
    record = read_record()
    assert [by_name(report) for report in record["reports"]] == sorted(builds)
    assert RECORD.read_text() == to_json(record["reports"], version=record["triton"])


def test_row_ops_load_16_bytes_at_a_time_in_few_registers(reports: list[Report]) -> None:
    least = {build.name: build.least for build in builds_rows.builds()}
    expected = {name for name in REGISTERS if least[name] <= reports[0]["capability"]}
    rows = [report for report in reports if report["name"] in expected]
    assert len(rows) == len(expected)
    for report in rows:
        assert report["registers"] <= REGISTERS[report["name"]], report
        narrow = sum(count for width, count in report["loads"].items() if width != "16")
        assert narrow <= NARROW_LOADS.get(report["name"], 0) < report["loads"]["16"], report


def test_attention_copies_16_bytes_and_uses_the_products_of_its_capability(
    reports: list[Report],
) -> None:
    """What is narrower: block numbers, lengths and items, the scales of splits, and sinks."""
    wide = {80: "mma.sync", 90: "wgmma.mma_async", 100: "tcgen05.mma"}[reports[0]["capability"]]
    attention = [report for report in reports if report["name"].startswith("attention_")]
    assert len(attention) == 2 * len(LAYERS)
    for report in attention:
        prefill = report["name"].startswith("attention_prefill")
        assert set(report["products"]) == {wide if prefill else "mma.sync"}, report
        assert report["loads"]["16"] >= 40, report
        assert report["loads"]["4"] <= 96, report
        assert report["loads"].get("2", 0) <= 8, report


def test_products_are_counted_by_their_kind() -> None:
    ptx = "mma.sync.aligned.m16n8k16 {}; wgmma.mma_async.sync.aligned {}; mma.sync.aligned {};"
    found = count(r"mma\.sync|wgmma\.mma_async", ptx)
    assert found == {"mma.sync": 2, "wgmma.mma_async": 1}


def test_lora_ops_copy_weights_16_bytes_at_a_time(reports: list[Report]) -> None:
    """Narrower ones: metadata and, in expand, the planes of v."""
    named = {report["name"]: report for report in reports}
    for m_tile in (16, 64):
        report = named[f"shrink {m_tile}"]
        assert report["overlaps"]["cp.async"] <= report["loads"]["16"], report
    assert named["expand 16"]["overlaps"]["cp.async"] > 0


def test_no_expand_feeds_a_pipelined_wgmma_from_registers(reports: list[Report]) -> None:
    """ptxas < 13.3 miscompiles it: https://github.com/triton-lang/triton/issues/9433."""
    for m_tile in EXPAND:
        report = next(report for report in reports if report["name"] == f"expand {m_tile}")
        warpgroups = "wgmma.mma_async" in report["products"]
        assert warpgroups == (report["capability"] == 90 and m_tile > 16), report
        assert not (warpgroups and "cp.async" in report["overlaps"]), report


def test_overlapped_launches_wait_on_the_device(reports: list[Report]) -> None:
    for report in reports:
        overlapped = report["name"].endswith("overlap")
        assert ("griddepcontrol" in report["overlaps"]) == overlapped, report


def test_programs_of_a_persistent_grid_run_at_once(reports: list[Report]) -> None:
    tiles: dict[str, ShrinkTile | ExpandTile]
    tiles = {f"shrink {m_tile}": tile for m_tile, tile in SHRINK.items()}
    tiles |= {f"expand {m_tile}": tile for m_tile, tile in EXPAND.items()}
    for report in reports:
        if report["name"] in tiles:
            tile = tiles[report["name"]]
            assert report["registers"] <= tile.max_registers, report
            assert (
                tile.programs_per_sm * (report["shared"] + 1024)
                <= SHARED_PER_SM[report["capability"]]
            ), report


def test_loads_are_counted_by_their_width() -> None:
    ptx = """
    @%p1 ld.global.v4.b32 { %r5, %r6, %r7, %r8 }, [ %rd3 + 0 ];
    ld.global.L1::evict_last.v2.b64 { %rd1, %rd2 }, [ %rd4 + 0 ];
    ld.global.b16 { %rs1 }, [ %rd5 + 0 ];
    cp.async.cg.shared.global [ %r236 + 0 ], [ %rd26 + 0 ], 0x10, %r75;
    ld.shared.b32 %r1, [%r2];
    cp.async.commit_group;
    """
    assert count_loads(ptx) == {"2": 1, "16": 3}
    assert count(r"cp\.async(?=\.c[ag]\b)", ptx) == {"cp.async": 1}
