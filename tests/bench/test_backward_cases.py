"""The backward products as cases."""

import pytest
import torch

from weft.bench.backward_cases import DX, OUTER, backward_cells, make_backward_case
from weft.bench.floors import Ceilings, Work
from weft.bench.lora_cells import LoraCell
from weft.bench.trials import Case, run_case

SMALL = list(backward_cells(small=True))


def make(cell: LoraCell, op: str = DX) -> Case:
    return make_backward_case(cell, op, seed=0, device=torch.device("cpu"), dtype=torch.float32)


@pytest.mark.parametrize("op", [DX, OUTER])
@pytest.mark.parametrize("cell", SMALL, ids=str)
def test_ours_and_torchs_are_right(cell: LoraCell, op: str) -> None:
    outcome = run_case(make(cell, op), None, Ceilings(1, 1))
    assert not outcome.gaps
    assert {name for name, _ in outcome.errors} == {"weft", "torch"}


@pytest.mark.parametrize("op", [DX, OUTER])
def test_gradient_that_is_not_made_is_wrong(op: str) -> None:
    trial = make(SMALL[0], op).makers["weft"]()
    assert trial.error_of(lambda: None) == pytest.approx(1)


def test_floor_of_dx_has_adapters_gradients_and_x_twice() -> None:
    """Two adapters of rank 16, 12 rows, 160 features into 48."""
    (cell,) = [cell for cell in SMALL if cell.site == "small_down"]
    work = make(cell).makers["weft"]().work
    assert work == Work(
        num_bytes=4 * (2 * 16 * (160 + 48) + 12 * (48 + 2 * 160)),
        flops=2 * 12 * 16 * (160 + 48),
    )


def test_floor_of_outer_has_gradients_twice_and_what_they_are_made_of_once() -> None:
    """Two adapters of rank 16, 12 rows, 160 features into 48; v and dv have 16 columns each."""
    (cell,) = [cell for cell in SMALL if cell.site == "small_down"]
    work = make(cell, OUTER).makers["weft"]().work
    assert work == Work(
        num_bytes=4 * (2 * 2 * 16 * (160 + 48) + 12 * (160 + 48 + 2 * 16)),
        flops=2 * 12 * 16 * (160 + 48),
    )


def test_every_core_site_is_trained() -> None:
    assert [cell.site for cell in backward_cells(small=False)] == [
        "qkv",
        "o",
        "gate_up",
        "down",
        "p1",
    ]
