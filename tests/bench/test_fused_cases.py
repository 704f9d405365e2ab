"""The base Linear and LoRA in one case."""

import pytest
import torch

from weft.bench.floors import Ceilings, linear_work
from weft.bench.fused_cases import SIDE, fused_cells, make_fused_case
from weft.bench.record import Gap
from weft.bench.trials import Case, run_case

(SMALL,) = fused_cells(small=True)


def make() -> Case:
    return make_fused_case(SMALL, seed=0, device=torch.device("cpu"), dtype=torch.float32)


def test_one_after_the_other_is_right_and_streams_need_a_gpu() -> None:
    case = make()
    outcome = run_case(case, None, Ceilings(1, 1))
    assert outcome.errors.keys() == {("weft", case.name)}
    assert outcome.gaps == [Gap(SIDE, case.name, "n/a (a CPU has no streams)")]


def test_output_that_is_not_written_is_wrong() -> None:
    trial = make().makers["weft"]()
    assert trial.error_of(lambda: None) == float("inf")


def test_floor_adds_the_adapters_to_the_base() -> None:
    """Three adapters of rank 4, 96 features into 64, 16 and 16."""
    work = make().makers["weft"]().work
    base = linear_work(SMALL.shape, 3, element_bytes=4)
    assert work is not None
    width = 3 * 96 + 64 + 16 + 16
    assert work.num_bytes == base.num_bytes + 4 * 3 * 4 * width
    assert work.flops == base.flops + 2 * 3 * 4 * width


def test_every_core_site_is_fused() -> None:
    assert len(list(fused_cells(small=False))) == 5 * 2 * 3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_streams_give_the_same_result() -> None:
    case = make_fused_case(SMALL, seed=0, device=torch.device("cuda"), dtype=torch.float16)
    trial = case.makers[SIDE]()
    assert trial.error_of(trial.run) <= case.tolerance
