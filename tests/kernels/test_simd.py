"""The vectors, in loops of their own: what they read, how they round, in which order they add."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from numba import njit

from weft.kernels import simd

from .cases import DTYPES

Array = npt.NDArray[Any]


def _convert(source: Array, target: Array) -> None:
    simd.store(target, 0, simd.load(source, 0))


def _convert_part(source: Array, target: Array, count: int) -> None:
    simd.store_part(target, 0, simd.load_part(source, 0, count), count)


def _sum_of_products(a: Array, b: Array, scale: float) -> Any:
    product = simd.fma(simd.load(a, 0), simd.load(b, 0), simd.zeros())
    return simd.total(simd.add(product, simd.splat(np.float32(scale))))


def _exponentials(source: Array, target: Array) -> None:
    for i in range(0, len(source), simd.LANES):
        simd.store(target, i, simd.exp(simd.load(source, i)))


def _larger(a: Array, b: Array, target: Array) -> Any:
    larger = simd.maximum(simd.load(a, 0), simd.load(b, 0))
    simd.store(target, 0, larger)
    return simd.highest(larger)


def _product(a: Array, b: Array, target: Array) -> None:
    simd.store(target, 0, simd.multiply(simd.load(a, 0), simd.load(b, 0)))


convert, convert_part, sum_of_products, exponentials, larger, product = map(
    njit, (_convert, _convert_part, _sum_of_products, _exponentials, _larger, _product)
)


def as_array(tensor: torch.Tensor) -> Array:
    bits = {torch.bfloat16: torch.uint16, torch.float16: torch.int16}
    array: Array = tensor.view(bits.get(tensor.dtype, tensor.dtype)).numpy()
    return array


SPECIAL = [0.0, -0.0, 1.0, -1.5, torch.inf, -torch.inf, torch.nan, 65504.0, 65520.0, 6e-8, 1e-40]
TIES = [1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-11, 1 + 3 * 2**-11, 3.4e38]


@pytest.mark.parametrize("name", DTYPES)
def test_stored_values_are_rounded_as_torch_rounds_them(name: str) -> None:
    source = torch.tensor([*SPECIAL, *TIES])
    target = torch.zeros(16, dtype=DTYPES[name])
    convert(as_array(source), as_array(target))
    want = source.to(DTYPES[name])
    assert torch.equal(target.isnan(), want.isnan())
    assert torch.equal(target.nan_to_num(7), want.nan_to_num(7))


@pytest.mark.parametrize("name", DTYPES)
def test_every_value_survives_loading(name: str) -> None:
    size = DTYPES[name].itemsize
    bits = torch.arange(0, 1 << 16, 16 if size == 2 else 1).to(torch.int32)
    values = bits.to(torch.int16).view(DTYPES[name]) if size == 2 else bits.float()
    for some in values[: len(values) // 16 * 16].view(-1, 16)[:: 1 if size == 2 else 64]:
        target = torch.zeros(16)
        convert(as_array(some.contiguous()), as_array(target))
        assert torch.equal(target.nan_to_num(7), some.float().nan_to_num(7))


def test_whole_numbers_are_rounded_to_the_nearest_even_and_read_back() -> None:
    some = [-128, -127.5, -2.5, -1.5, -0.5, 0, 0.5, 1.5, 2.5, 63.49, 63.51, 126.5, 126.6, 127]
    source = torch.tensor([*some, 3.0, 4.0])
    whole, target = torch.full((16,), 99, dtype=torch.uint8), torch.zeros(16)
    convert(as_array(source), as_array(whole))
    assert torch.equal(whole.float() - 128, source.round())
    convert(as_array(whole), as_array(target))
    assert torch.equal(target, source.round())


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("count", [0, 1, 7, 16])
def test_a_part_touches_nothing_behind_it(name: str, count: int) -> None:
    source = torch.full((16,), torch.nan, dtype=DTYPES[name])
    source[:count] = torch.arange(1, count + 1)
    target = torch.full((16,), -3.0, dtype=DTYPES[name])
    convert_part(as_array(source), as_array(target), count)
    assert target.tolist() == [*range(1, count + 1), *[-3.0] * (16 - count)]


def test_lanes_are_added_in_pairs() -> None:
    a, b = torch.randn(16), torch.randn(16)
    want = a * b + 0.5
    while len(want) > 1:
        want = want[: len(want) // 2] + want[len(want) // 2 :]
    assert sum_of_products(a.numpy(), b.numpy(), 0.5) == pytest.approx(want.item(), rel=1e-6)


def test_exponential_is_right_to_its_last_bits() -> None:
    source = np.linspace(-87, 88, 1 << 14).astype(np.float32)
    target = np.full_like(source, np.nan)
    exponentials(source, target)
    wanted = np.exp(source.astype(np.float64))
    assert (np.abs(target - wanted) / wanted).max() < 1.2e-7


def test_exponential_hides_no_nan_and_vanishes_far_below() -> None:
    source = np.array([np.nan, -np.inf, -200.0, 0.0] * 4, np.float32)
    target = np.empty_like(source)
    exponentials(source, target)
    assert np.isnan(target[0])
    assert 0 <= target[1] == target[2] < 1e-37
    assert target[3] == 1


def test_larger_lane_by_lane_and_the_highest_of_all() -> None:
    a, b = (torch.randn(16, generator=torch.Generator().manual_seed(i)).numpy() for i in (0, 1))
    target = np.empty_like(a)
    assert larger(a, b, target) == max(a.max(), b.max())
    assert (target == np.maximum(a, b)).all()
    b[3] = np.nan
    larger(a, b, target)
    assert target[3] == a[3]


def test_product_lane_by_lane() -> None:
    a, b = torch.randn(16).numpy(), torch.randn(16).numpy()
    target = np.empty_like(a)
    product(a, b, target)
    assert (target == a * b).all()
