"""The kernel suite from end to end, interpreted on tiny shapes."""

import subprocess
import sys
import time
from dataclasses import replace
from itertools import chain

import pytest

from weft.bench.floors import Ceilings
from weft.bench.kernel_options import KernelOptions, Slice
from weft.bench.kernels import check_ours, lora_contenders, plan_cases, run_cases
from weft.bench.record import Gap, Record
from weft.bench.record_file import read_record
from weft.bench.trials import Outcome

SMALL = KernelOptions(grid="small", device="cpu", dtype="float32", seed=0, minutes=9)
CORE = replace(SMALL, grid="core", dtype="bfloat16")
ABSENT = ("redis", "grpc", "msgspec", "zmq", "google.protobuf", "transformers", "peft")


def names(options: KernelOptions) -> list[str]:
    return [case.name for case in plan_cases(options)]


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """Of a run where only torch and triton are, as on a machine with a GPU and little else."""
    out = tmp_path_factory.mktemp("kernels")
    code = (
        "import sys; sys.modules.update(dict.fromkeys(sys.argv.pop(1).split(',')))\n"
        "from weft.bench.command import bench; bench()"
    )
    arguments = [",".join(ABSENT), "kernels", "--small", "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (path,) = out.glob("*.json")
    return read_record(path)


def test_results_are_right_and_nothing_is_timed_on_a_cpu(record: Record) -> None:
    assert record.holds
    assert record.checks[0].name == "weft by the definition in float64"
    assert record.checks[0].values["wrong"] == 0
    assert not record.cells
    reasons = {gap.contender: gap.reason for gap in record.gaps}
    assert reasons.keys() >= {"sglang-v2", "vllm"}
    assert not any(reason.startswith(("WRONG", "failed")) for reason in reasons.values())
    assert record.suite == "kernels-small"


def test_goals_are_not_judged_without_figures(record: Record) -> None:
    assert {verdict.goal for verdict in record.verdicts} >= {"P1 floor", "P1 peers"}
    assert not any(verdict.met is not None for verdict in record.verdicts)


def test_core_has_all_cells_of_lora() -> None:
    assert len(names(replace(CORE, ops=["lora"]))) == 270


def test_slices_are_the_whole_in_parts() -> None:
    slices = [names(replace(CORE, part=Slice(i, 4))) for i in (1, 2, 3, 4)]
    assert sorted(chain.from_iterable(slices)) == sorted(names(CORE))
    for part in slices:
        assert {name.split()[0] for name in part} >= {"qkv", "o", "gate_up", "down", "p1"}


def test_tiles_run_only_if_asked_for() -> None:
    assert not any(name.startswith("tiles") for name in names(CORE))
    assert len(names(replace(CORE, ops=["tiles"]))) == 6


def test_peers_stand_beside_us_at_their_best_or_as_served() -> None:
    best = [contender.name for contender in lora_contenders(as_served=False)]
    assert best == [
        "weft",
        "weft overlap",
        "sglang-v2",
        "sglang-csgmv",
        "sglang-csgmv-splitk",
        "sglang-triton",
        "vllm",
        "loop",
        "bmm",
    ]
    served = [contender.name for contender in lora_contenders(as_served=True)]
    assert served == ["weft", "weft overlap", *(f"{name} as served" for name in best[2:7])]
    assert len(names(replace(CORE, as_served=True))) == 270


def test_options_choose_cells() -> None:
    chosen = names(replace(CORE, sites=["p1"], ranks=["mixed"]))
    assert len(chosen) == 18
    assert all(name.startswith("p1 mixed ") for name in chosen)
    assert (
        names(replace(CORE, sites=["p1"], ranks=["mixed"], ops=["lora"], done=chosen[1:]))
        == (chosen[:1])
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (replace(CORE, ops=["lora", "conv"]), "op 'conv' is not one of attention_decode"),
        (replace(CORE, sites=["1b_qkv"]), "site '1b_qkv' is not one of down, gate_up"),
        (replace(CORE, ranks=["16"]), "rank '16' is not one of mixed, r16, r64"),
    ],
)
def test_name_that_no_case_has_is_refused(options: KernelOptions, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan_cases(options)


def test_no_case_begins_when_the_time_is_over() -> None:
    cases = plan_cases(SMALL)[:3]
    said: list[str] = []
    outcome, left = run_cases(
        cases, None, Ceilings(1, 1), until=time.monotonic() - 1, say=said.append
    )
    assert (left, outcome.errors) == (3, {})
    assert said == ["out of time: 3 cases left"]


def test_wrong_result_of_ours_fails_the_run() -> None:
    outcome = Outcome(
        gaps=[Gap("weft", "b", "WRONG err=1.0e+00"), Gap("peer", "b", "WRONG err=1.0e+00")],
        errors={("weft", "a"): 1e-3, ("weft", "c"): 1e-4, ("weft side", "a"): 0.0, ("x", "a"): 0.0},
    )
    ours, side = check_ours(outcome)
    assert not ours.holds
    assert ours.text == "2 of 3 cases, worst error 1.0e-03 (a); b: WRONG err=1.0e+00"
    assert side.holds
    assert side.name.startswith("weft side")


def test_gap_without_a_fault_is_none() -> None:
    assert list(check_ours(Outcome(gaps=[Gap("weft overlap", "a", "n/a (no reason)")]))) == []
