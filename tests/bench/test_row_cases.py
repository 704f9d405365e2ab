"""The row ops as cases: ours and torch's agree with float64, and floors count every byte once."""

from dataclasses import replace

import pytest
import torch

from weft.bench.floors import Ceilings, Work
from weft.bench.row_cases import RowCases, RowShape, row_shapes
from weft.bench.trials import Case, run_case

OPS = ("rmsnorm", "add_rmsnorm", "rope", "glu", "quantise")
(SMALL,) = row_shapes(small=True)


def make(op: str, shape: RowShape = SMALL) -> Case:
    cases = RowCases(shape, seed=0, device=torch.device("cpu"), dtype=torch.float32)
    return cases.makers()[op]()


@pytest.mark.parametrize("op", OPS)
def test_ours_and_torchs_are_right(op: str) -> None:
    case = make(op)
    outcome = run_case(case, None, Ceilings(1, 1))
    assert not outcome.gaps
    assert outcome.errors.keys() == {("weft", case.name), ("torch", case.name)}


@pytest.mark.parametrize(
    ("op", "num_elements"),
    [
        ("rmsnorm", 2 * 3 * 64 + 64),
        ("add_rmsnorm", 4 * 3 * 64 + 64),
        ("rope", 2 * 3 * (4 + 2 + 2) * 16 + 3 * 8),
        ("glu", 3 * 3 * 48),
    ],
)
def test_floor_counts_every_byte_once(op: str, num_elements: int) -> None:
    work = make(op).makers["weft"]().work
    assert work == Work(num_bytes=4 * num_elements, flops=0)


def test_floor_of_quantised_rows_counts_a_byte_for_each_value() -> None:
    work = make("quantise").makers["weft"]().work
    assert work == Work(num_bytes=3 * 64 * (4 + 1) + 3 * 4, flops=0)


@pytest.mark.parametrize("op", OPS)
def test_op_that_does_nothing_is_wrong(op: str) -> None:
    trial = make(op).makers["weft"]()
    assert trial.error_of(trial.run) <= 1e-5
    assert trial.error_of(lambda: None) > 0.1


def test_shapes_are_those_of_an_8b_model() -> None:
    shapes = list(row_shapes(small=False))
    assert [shape.num_rows for shape in shapes] == [1, 32, 128, 8192]
    assert {replace(shape, num_rows=1) for shape in shapes} == {
        RowShape(1, 4096, 14336, 32, 8, 128)
    }
