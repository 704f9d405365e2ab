"""The forms of the base product agree, and going back gives the very values."""

from collections.abc import Sequence

import pytest
import torch
from torch import nn

from weft.server.model.product import (
    Fp8,
    Int8,
    Merged,
    Packed,
    QuantisedProduct,
    Separate,
    can_pack,
)

WIDTHS = (24, 8, 40)


def make_linears(
    *,
    bias: bool,
    dtype: torch.dtype = torch.float32,
    widths: Sequence[int] = WIDTHS,
    num_in: int = 16,
) -> list[nn.Linear]:
    torch.manual_seed(0)
    linears = [nn.Linear(num_in, width, bias=bias, dtype=dtype) for width in widths]
    return [linear.requires_grad_(False) for linear in linears]


@pytest.mark.parametrize("bias", [False, True], ids=["plain", "bias"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)], ids=["fp32", "bf16"]
)
@torch.inference_mode()
def test_merged_and_packed_equal_separate(bias: bool, dtype: torch.dtype, tolerance: float) -> None:
    if not can_pack(dtype, torch.device("cpu")):
        pytest.skip(f"oneDNN does not multiply in {dtype} on this machine")
    linears = make_linears(bias=bias, dtype=dtype)
    x_TK = torch.randn(5, 16).to(dtype)
    expected = Separate(linears)(x_TK)
    merged = Merged(linears)
    torch.testing.assert_close(merged(x_TK), expected, rtol=tolerance, atol=tolerance)
    packed = Packed(merged, keep=False)
    torch.testing.assert_close(packed(x_TK), expected, rtol=tolerance, atol=tolerance)


@torch.inference_mode()
def test_merging_keeps_one_copy_of_the_values() -> None:
    linears = make_linears(bias=True)
    before = [linear.weight.clone() for linear in linears]
    merged = Merged(linears)
    storage = merged.weight_NK.untyped_storage().data_ptr()
    for linear, weight in zip(linears, before, strict=True):
        assert torch.equal(linear.weight, weight)
        assert linear.weight.untyped_storage().data_ptr() == storage


@torch.inference_mode()
def test_packing_frees_the_plain_weight_and_unpacking_restores_it() -> None:
    linears = make_linears(bias=False)
    before = [linear.weight.clone() for linear in linears]
    packed = Packed(Merged(linears), keep=False)
    assert [linear.weight.shape for linear in linears] == [weight.shape for weight in before]
    assert all(linear.weight.untyped_storage().nbytes() == 4 for linear in linears)
    packed.unpack()
    assert all(map(torch.equal, [linear.weight for linear in linears], before))


@torch.inference_mode()
def test_packing_can_leave_the_plain_weight_to_another_reader() -> None:
    linears = make_linears(bias=False)[:1]
    before = linears[0].weight.clone()
    packed = Packed(Merged(linears), keep=True)
    assert torch.equal(linears[0].weight, before)
    packed.unpack()
    assert torch.equal(linears[0].weight, before)


@pytest.mark.parametrize("bias", [False, True], ids=["plain", "bias"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("product", [Int8, Fp8])
@torch.inference_mode()
def test_quantised_product_is_near_whatever_other_rows_and_channels_hold(
    product: type[QuantisedProduct], bias: bool, dtype: torch.dtype
) -> None:
    linears = make_linears(bias=bias, dtype=dtype, widths=(32, 16, 64), num_in=128)
    x_TK = torch.randn(5, 128)
    x_TK[:, 3] *= 40
    x_TK = (x_TK * torch.logspace(-2, 2, 5)[:, None]).to(dtype)
    expected = Separate(linears)(x_TK).float()
    found = product(linears)(x_TK)
    assert found.dtype == dtype
    assert found.is_contiguous()
    errors_T = (found.float() - expected).norm(dim=1) / expected.norm(dim=1)
    assert errors_T.max() < 0.07
    assert all(linear.weight.untyped_storage().nbytes() == dtype.itemsize for linear in linears)


@torch.inference_mode()
def test_a_row_in_whole_numbers_has_its_bits_whatever_its_company() -> None:
    product = Int8(make_linears(bias=True, dtype=torch.float32, widths=(32,), num_in=64))
    x_TK = torch.randn(9, 64) * torch.logspace(-3, 3, 9)[:, None]
    assert torch.equal(product(x_TK[4:5])[0], product(x_TK)[4])


def test_nothing_is_packed_beside_the_cpu_or_in_float64() -> None:
    assert not can_pack(torch.float32, torch.device("meta"))
    assert not can_pack(torch.float64, torch.device("cpu"))
