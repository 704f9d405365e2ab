"""The forms of the base product agree, and going back gives the very values."""

import pytest
import torch
from torch import nn

from weft.server.model.product import Merged, Packed, Separate, can_pack

WIDTHS = (24, 8, 40)


def make_linears(*, bias: bool, dtype: torch.dtype = torch.float32) -> list[nn.Linear]:
    torch.manual_seed(0)
    linears = [nn.Linear(16, width, bias=bias, dtype=dtype) for width in WIDTHS]
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


def test_nothing_is_packed_beside_the_cpu_or_in_float64() -> None:
    assert not can_pack(torch.float32, torch.device("meta"))
    assert not can_pack(torch.float64, torch.device("cpu"))
