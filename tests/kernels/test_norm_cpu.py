"""rmsnorm on a CPU has every bit of its definition, whatever the width that torch sums over."""

from typing import Any

import pytest
import torch

from weft.kernels import reference_rows
from weft.kernels.norm_cpu import GRAIN, rmsnorm_cpu

from .test_norm import FORMS, LLAMA

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
# a line of torch's sum, a level of its cascade, and two
WIDTHS = [32, 96, 512, 544, 768, 4096, 8192, 8224]


def rows(num: int, width: int, dtype: torch.dtype) -> torch.Tensor:
    generator = torch.Generator().manual_seed(width)
    x_TK = torch.randn(num, width, generator=generator) * torch.logspace(-3, 1.5, num)[:, None]
    return x_TK.to(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("width", WIDTHS)
def test_equals_the_definition_bit_for_bit(
    width: int, form: dict[str, Any], dtype: torch.dtype
) -> None:
    x_TK, weight_K = rows(17, width, dtype), rows(1, width, dtype)[0] * 1000
    assert torch.equal(
        rmsnorm_cpu(x_TK, weight_K, **form), reference_rows.rmsnorm(x_TK, weight_K, **form)
    )


@pytest.mark.parametrize("num_threads", [1, 3])
def test_heads_of_a_merged_output_are_rows_for_any_number_of_threads(num_threads: int) -> None:
    qkv_TN, weight_K = rows(GRAIN // 100, 5 * 64, torch.bfloat16), torch.ones(64).bfloat16()
    k_TGD = qkv_TN[:, 128:256].view(-1, 2, 64)
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    got = rmsnorm_cpu(k_TGD, weight_K, **LLAMA)
    torch.set_num_threads(before)
    assert torch.equal(got, reference_rows.rmsnorm(k_TGD.contiguous(), weight_K, **LLAMA))


def test_what_it_does_not_take_is_refused() -> None:
    x_TK = torch.ones(2, 48)
    with pytest.raises(ValueError, match="rows of 48 are no multiple of 32"):
        rmsnorm_cpu(x_TK, torch.ones(48), **LLAMA)
    with pytest.raises(ValueError, match="weight"):
        rmsnorm_cpu(torch.ones(2, 64), torch.ones(48), **LLAMA)
