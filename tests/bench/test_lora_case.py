"""A cell as a case: who is right by its own delta and on a random output."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from weft.bench.floors import Ceilings, linear_work
from weft.bench.lora_case import BASE_GEMM, make_lora_case
from weft.bench.lora_cells import Batch, LoraCell
from weft.bench.lora_contender import AddDelta, LoraContender, LoraInputs, define_delta
from weft.bench.trials import Case, run_case
from weft.bench.weft_lora import WeftLora

CELL = LoraCell("small_down", (4,), Batch(6, base_share=0.5))
CPU = torch.device("cpu")


@dataclass(frozen=True)
class ByDefinition:
    """Right, but for `times`; `overwrites` instead of adding."""

    name: str = "weft"
    times: float = 1.0
    overwrites: bool = False

    def prepare(self, inputs: LoraInputs) -> AddDelta:
        delta_TN = self.times * define_delta(inputs)

        def add(y_TN: Tensor) -> None:
            if self.overwrites:
                y_TN.zero_()
            y_TN += delta_TN

        return add


def make(*contenders: LoraContender) -> Case:
    return make_lora_case(CELL, contenders, seed=1, device=CPU, dtype=torch.float32)


def test_case_tells_the_cell_and_its_work() -> None:
    case = make(WeftLora(), ByDefinition("peer"))
    assert case.name == "small_down r4 6 distinct 50% base"
    assert case.parameters["distinct"] == 3
    assert case.parameters["is_core"] is False
    ours, peer, gemm = (case.makers[name]() for name in ("weft", "peer", BASE_GEMM))
    assert ours.work == peer.work == CELL.work(1, element_bytes=4)
    assert gemm.work == linear_work(CELL.shape, 6, element_bytes=4)
    assert (ours.num_launches, peer.num_launches) == (2, None)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (ByDefinition("twice", times=2.0), "1.0e+00"),
        (ByDefinition("part", times=1.001), "1.0e-03"),
        (ByDefinition("overwrites", overwrites=True), "err="),
    ],
    ids=lambda value: value.name if isinstance(value, ByDefinition) else "",
)
def test_wrong_delta_is_found(wrong: ByDefinition, error: str) -> None:
    outcome = run_case(make(ByDefinition(), wrong), None, Ceilings(1, 1))
    (gap,) = outcome.gaps
    assert (gap.contender, gap.case) == (wrong.name, str(CELL))
    assert gap.reason.startswith("WRONG")
    assert error in gap.reason
    assert {name for name, _ in outcome.errors} == {"weft", BASE_GEMM}


def test_output_is_put_back() -> None:
    trial = make(ByDefinition()).makers["weft"]()
    assert trial.error_of(trial.run) <= 1e-6
    assert trial.error_of(lambda: None) == pytest.approx(1)
    trial.reset()
    assert trial.error_of(trial.run) <= 1e-6
