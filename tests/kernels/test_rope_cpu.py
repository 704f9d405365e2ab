"""rope on a CPU has every bit of its definition."""

from typing import Any

import pytest
import torch
from torch import Tensor

from weft.kernels import reference_rows
from weft.kernels.rope_cpu import rope_cpu

from .cases import Run, by_add_lora
from .test_rope import CHANGED, HALF, HEADS, NUM_POSITIONS, copies, inputs

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
CACHE_INDEX = [7, -1, 0, 19, 3, 4, -1]


def on_cpu(heads: str, dtype: torch.dtype, **form: bool) -> dict[str, Any]:
    run = Run(by_add_lora, "cpu", dtype)
    return inputs(run, HEADS[heads], CACHE_INDEX, **form)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("in_fp32", [False, True])
@pytest.mark.parametrize("heads", HEADS)
def test_equals_the_definition_bit_for_bit(heads: str, in_fp32: bool, dtype: torch.dtype) -> None:
    arguments = on_cpu(heads, dtype, interleaved=False, in_fp32=in_fp32)
    assert_equals_the_definition(arguments)


@pytest.mark.parametrize("num_threads", [1, 3])
def test_angles_may_be_in_fp32_for_any_number_of_threads(num_threads: int) -> None:
    arguments = on_cpu("llama", torch.bfloat16, interleaved=False, in_fp32=True)
    for name in ("cos_XE", "sin_XE"):
        arguments[name] = arguments[name].float() * 0.999
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    assert_equals_the_definition(arguments)
    torch.set_num_threads(before)


def test_what_it_does_not_take_is_refused() -> None:
    arguments = on_cpu("llama", torch.float32, **HALF)
    with pytest.raises(ValueError, match="interleaved"):
        rope_cpu(**(arguments | {"interleaved": True}))
    with pytest.raises(ValueError, match="positions"):
        rope_cpu(**(arguments | {"positions_T": torch.arange(3)}))


@pytest.mark.parametrize("name", ["cache_index_T", "positions_T"])
def test_row_beyond_the_end_is_left_out_and_said(name: str) -> None:
    arguments = on_cpu("llama", torch.float32, **HALF)
    arguments[name][2] = {"cache_index_T": 20, "positions_T": NUM_POSITIONS}[name]
    row = arguments["q_THD"][2].clone()
    with pytest.raises(IndexError, match="behind"):
        rope_cpu(**arguments)
    assert torch.equal(arguments["q_THD"][2], row)


def assert_equals_the_definition(arguments: dict[str, Any]) -> None:
    want = copies(arguments)
    reference_rows.rope(**want)
    rope_cpu(**arguments)
    for name in CHANGED:
        got, wanted = arguments[name], want[name]
        assert isinstance(got, Tensor)
        assert torch.equal(got, wanted), name
