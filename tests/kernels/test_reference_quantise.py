"""Quantised rows are near what they stand for, whatever else their tensor holds."""

import pytest
import torch

from weft.kernels.reference_quantise import LARGEST, quantise_rows

# of a row's largest magnitude: half a step of int8, half the last of e4m3's three mantissa bits
HALF_STEP = {torch.int8: 0.5 / 127, torch.float8_e4m3fn: 16 / 448}


@pytest.mark.parametrize("dtype", LARGEST, ids=str)
@pytest.mark.parametrize("given", [torch.float32, torch.bfloat16], ids=str)
def test_values_come_back_within_half_a_step_of_their_own_row(
    dtype: torch.dtype, given: torch.dtype
) -> None:
    x_TK = torch.randn(9, 33, generator=torch.Generator().manual_seed(0))
    x_TK = (x_TK * torch.logspace(-20, 20, 9)[:, None]).to(given)
    q_TK, scale_T1 = quantise_rows(x_TK, dtype)
    assert (q_TK.dtype, scale_T1.dtype, scale_T1.shape) == (dtype, torch.float32, (9, 1))
    largest_T1 = x_TK.float().abs().amax(1, keepdim=True)
    off_TK = (q_TK.float() * scale_T1 - x_TK.float()).abs() / largest_T1
    assert off_TK.max() <= 1.001 * HALF_STEP[dtype]
    assert (q_TK.float().abs().amax(1) == LARGEST[dtype]).all()


@pytest.mark.parametrize("dtype", LARGEST, ids=str)
def test_zeros_stay_zeros(dtype: torch.dtype) -> None:
    q_TK, scale_T1 = quantise_rows(torch.zeros(2, 8), dtype)
    assert (q_TK.float() == 0).all()
    assert scale_T1.isfinite().all()


def test_of_two_whole_numbers_as_near_the_even_one_is_taken() -> None:
    q_TK, _ = quantise_rows(torch.tensor([[127.0, 0.5, 1.5, -0.5, -2.5]]), torch.int8)
    assert q_TK.tolist() == [[127, 0, 2, 0, -2]]


@pytest.mark.parametrize("spoilt", [torch.nan, torch.inf, -torch.inf])
def test_a_row_that_is_not_finite_does_not_look_so(spoilt: float) -> None:
    x_TK = torch.ones(2, 8)
    x_TK[1, 3] = spoilt
    _, scale_T1 = quantise_rows(x_TK, torch.int8)
    assert scale_T1.isfinite().flatten().tolist() == [True, False]
