"""The loops around an int8 product have every bit of their definitions."""

import pytest
import torch
from torch import Tensor

from weft.kernels.quantise_cpu import GRAIN, quantise_rows_cpu, rescale_rows_cpu
from weft.kernels.reference_quantise import quantise_rows
from weft.kernels.simd import ZERO_POINT

from .cases import DTYPES

SIZES = [(1, 16), (7, 96), (GRAIN // 96 + 5, 96)]


def rows(num: int, width: int, dtype: torch.dtype) -> Tensor:
    """Rows of all magnitudes; in 16 bits many values lie halfway between two whole numbers."""
    generator = torch.Generator().manual_seed(num)
    x_TK = torch.randn(num, width, generator=generator) * torch.logspace(-4, 3, num)[:, None]
    x_TK[num // 2] = 0
    return x_TK.to(dtype)


def whole(q_TK: Tensor) -> Tensor:
    assert q_TK.dtype == torch.uint8
    return (q_TK.short() - ZERO_POINT).to(torch.int8)


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_rows_are_quantised_bit_for_bit(size: tuple[int, int], name: str) -> None:
    x_TK = rows(*size, DTYPES[name])
    q_TK, scale_T1 = quantise_rows_cpu(x_TK)
    want_q_TK, want_scale_T1 = quantise_rows(x_TK, torch.int8)
    assert torch.equal(whole(q_TK), want_q_TK)
    assert torch.equal(scale_T1, want_scale_T1)


@pytest.mark.parametrize("spoilt", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("at", [0, 37, 95])
def test_a_row_that_is_not_finite_does_not_look_so(spoilt: float, at: int) -> None:
    x_TK = rows(3, 96, torch.bfloat16)
    x_TK[1, at] = spoilt
    _, scale_T1 = quantise_rows_cpu(x_TK)
    assert scale_T1.isfinite().flatten().tolist() == [True, False, True]


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("biased", [False, True], ids=["plain", "bias"])
def test_results_are_rescaled_and_rounded_once(
    biased: bool, size: tuple[int, int], name: str
) -> None:
    dtype = DTYPES[name]
    y_TN, scale_T1 = rows(*size, dtype), torch.rand(size[0], 1)
    bias_N = torch.randn(size[1]).to(dtype)
    added_N = bias_N.float() if biased else torch.zeros(size[1])
    want_TN = torch.addcmul(added_N.double(), y_TN.double(), scale_T1.double()).float().to(dtype)
    rescale_rows_cpu(y_TN, scale_T1, bias_N if biased else None)
    assert torch.equal(y_TN, want_TN)


@pytest.mark.parametrize("num_threads", [1, 3])
def test_threads_share_the_rows(num_threads: int) -> None:
    x_TK = rows(*SIZES[-1], torch.float32)
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    q_TK, scale_T1 = quantise_rows_cpu(x_TK)
    y_TN = whole(q_TK).float()
    rescale_rows_cpu(y_TN, scale_T1, None)
    torch.set_num_threads(before)
    assert torch.equal(whole(q_TK), quantise_rows(x_TK, torch.int8)[0])
    assert torch.equal(y_TN, whole(q_TK).float() * scale_T1)


def test_what_they_do_not_take_is_refused() -> None:
    x_TK, scale_T1 = torch.ones(2, 32), torch.ones(2, 1)
    with pytest.raises(ValueError, match=r"x \(2, 24\) is not contiguous \[T, a multiple of 16\]"):
        quantise_rows_cpu(torch.ones(2, 24))
    with pytest.raises(ValueError, match=r"x \(2, 16\) is not contiguous"):
        quantise_rows_cpu(x_TK[:, :16])
    with pytest.raises(ValueError, match=r"y \(2, 24\) is not contiguous"):
        rescale_rows_cpu(torch.ones(2, 24), scale_T1, None)
    with pytest.raises(ValueError, match=r"bias is torch\.float16 \(32,\), y torch\.float32"):
        rescale_rows_cpu(x_TK, scale_T1, torch.ones(32).half())
