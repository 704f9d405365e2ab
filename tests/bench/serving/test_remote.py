"""A server that runs already: what it cannot show, and a sweep on it over gRPC."""

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from weft.bench.command import bench
from weft.bench.errors import WrongBase
from weft.bench.record_file import read_record
from weft.bench.serving.options import HostOptions, Remote
from weft.bench.serving.remote import find_lack, open_remote
from weft.bench.serving.workloads import make_runs, small_setting
from weft.client import Client
from weft.server.child import Server

SWEEP = ["serving", "W3", "W4", "W6", "--small", "--sweep", "--rate", "20", "--seconds", "0.2"]


@pytest.mark.xdist_group("servers")
def test_sweep_of_a_running_server_leaves_nothing_there(
    server: Server, tiny_llama: Path, tmp_path: Path
) -> None:
    place = ["--address", server.address, "--model", str(tiny_llama)]
    result = CliRunner().invoke(bench, [*SWEEP, *place, "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    [path] = tmp_path.glob("*-serving-remote-small-sweep.json")
    record = read_record(path)
    assert record.holds
    assert record.parameters["address"] == server.address
    rates = {cell.case.rpartition(", ")[2] for cell in record.cells if cell.figure == "rate"}
    assert rates == {f"{share} of the knee" for share in (0.5, 0.7, 0.85, 1.2)}
    assert [cell.median for cell in record.cells if cell.figure == "knee"] == [20, 20]
    gaps = {gap.case: gap.reason for gap in record.gaps if gap.reason != "SATURATED"}
    assert gaps == {
        "W4 churn": "n/a (publications have no rate to sweep)",
        "W6 without": "n/a (needs 4 tenants, keys are of 0)",
        "W6 with": "n/a (needs 4 tenants, keys are of 0)",
    }
    with Client(server.address) as weft:
        assert not [each.name for each in weft.adapters() if "/bench-" in each.name]


@pytest.mark.xdist_group("servers")
def test_a_server_of_another_base_is_refused(server: Server, tmp_path: Path) -> None:
    from tests.tiny import save_tiny_model

    other = Remote(server.address, str(save_tiny_model("llama", tmp_path / "other", seed=1)))
    opened = open_remote(small_setting("tiny"), other, HostOptions("cpu", 0), tmp_path)
    with pytest.raises(WrongBase, match=r"serves sha256:\w+, not sha256:"), opened:
        raise AssertionError("it must not open")


def test_what_needs_an_arena_or_tenants_of_its_own_is_named() -> None:
    remote = Remote("localhost:1", "model", ("a", "b"))
    cliff = next(r for r in make_runs("W2", small=None, seconds=None, trace=None) if r.needs_arena)
    lack = find_lack(cliff, remote)
    assert lack is not None
    assert f"an arena of {cliff.setting.arena_bytes} bytes" in lack
    [abuse, _] = make_runs("W6", small="82m", seconds=None, trace=None)
    assert find_lack(abuse, remote) == "n/a (needs 4 tenants, keys are of 2)"
    assert find_lack(abuse, replace(remote, api_keys=("a", "b", "c", "d"))) is None
    [churn] = make_runs("W4", small="82m", seconds=None, trace=None)
    assert find_lack(churn, remote) is None
