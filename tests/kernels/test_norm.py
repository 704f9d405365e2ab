from typing import Any

import pytest
import torch
from torch import Tensor

from weft.kernels import reference_rows
from weft.kernels.norm import add_rmsnorm, rmsnorm, rmsnorm_tile

from .cases import COMPILED_RUNS, TRITON_RUNS, Run
from .rows import assert_rounds_alike, banded_memory, replay

FORMS = [
    pytest.param({"eps": 1e-5, "add_one": add_one, "round_first": round_first}, id=name)
    for name, add_one, round_first in [
        ("llama", False, True),
        ("olmo2", False, False),
        ("gemma", True, False),
        ("one-rounded", True, True),
    ]
]
LLAMA: dict[str, Any] = {"eps": 1e-6, "add_one": False, "round_first": True}


@pytest.mark.parametrize("run", TRITON_RUNS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("num_rows", "width"), [(1, 64), (37, 67), (5, 768), (3, 5000)])
def test_rmsnorm_equals_the_definition(
    run: Run, form: dict[str, Any], num_rows: int, width: int
) -> None:
    x_TK, weight_K = run.random(num_rows, width), run.random(width, seed=1)
    with banded_memory():
        got = rmsnorm(x_TK, weight_K, **form)
    assert_rounds_alike("y", got, reference_rows.rmsnorm(x_TK, weight_K, **form))


@pytest.mark.parametrize("run", TRITON_RUNS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("num_rows", "width"), [(1, 64), (37, 67), (3, 1000)])
def test_add_rmsnorm_equals_the_definition(
    run: Run, form: dict[str, Any], num_rows: int, width: int
) -> None:
    x_TK, weight_K = run.random(num_rows, width), run.random(width, seed=1)
    band_TK = run.random(num_rows + 8, width + 3, seed=2)
    before_TK, residual_TK = band_TK.clone(), band_TK[4:-4, :width]
    want_residual = residual_TK.clone()
    want = reference_rows.add_rmsnorm(x_TK, want_residual, weight_K, **form)
    with banded_memory():
        got = add_rmsnorm(x_TK, residual_TK, weight_K, **form)
    assert_rounds_alike("y", got, want)
    assert torch.equal(residual_TK, want_residual)
    residual_TK.copy_(before_TK[4:-4, :width])
    assert torch.equal(band_TK, before_TK)


@pytest.mark.parametrize("run", TRITON_RUNS)
def test_heads_of_a_merged_output_are_rows(run: Run) -> None:
    qkv_TN, weight_K = run.random(7, 5 * 48), run.random(48, seed=1)
    k_TGD = qkv_TN[:, 96:192].view(7, 2, 48)
    got = rmsnorm(k_TGD, weight_K, **LLAMA)
    assert got.is_contiguous()
    assert_rounds_alike("y", got, reference_rows.rmsnorm(k_TGD, weight_K, **LLAMA))


@pytest.mark.parametrize("run", TRITON_RUNS)
def test_eps_counts_beside_small_rows(run: Run) -> None:
    x_TK, weight_K = 1e-3 * run.random(4, 96), run.random(96, seed=1)
    form: dict[str, Any] = {**LLAMA, "eps": 1e-5}
    assert_rounds_alike(
        "y", rmsnorm(x_TK, weight_K, **form), reference_rows.rmsnorm(x_TK, weight_K, **form)
    )


@pytest.mark.parametrize("run", TRITON_RUNS)
def test_no_rows(run: Run) -> None:
    empty_TK, weight_K = run.random(0, 96), run.random(96)
    assert rmsnorm(empty_TK, weight_K, **LLAMA).shape == (0, 96)
    assert rmsnorm(run.random(4, 0, 96), weight_K, **LLAMA).shape == (4, 0, 96)
    assert add_rmsnorm(empty_TK, empty_TK.clone(), weight_K, **LLAMA).shape == (0, 96)


@pytest.mark.parametrize("run", TRITON_RUNS)
def test_bits_of_a_row_depend_on_no_other(run: Run) -> None:
    x_TK, weight_K = run.random(37, 67), run.random(67, seed=1)
    alone, together = rmsnorm(x_TK[5:6], weight_K, **LLAMA), rmsnorm(x_TK, weight_K, **LLAMA)
    assert torch.equal(alone[0], together[5])
    for _ in range(100 if x_TK.is_cuda else 2):
        assert torch.equal(rmsnorm(x_TK, weight_K, **LLAMA), together)


def test_short_rows_share_a_program_and_long_ones_have_threads_enough() -> None:
    assert rmsnorm_tile(128) == {"BLOCK_T": 16, "BLOCK_K": 128, "num_warps": 4}
    assert rmsnorm_tile(4096) == {"BLOCK_T": 1, "BLOCK_K": 4096, "num_warps": 8}
    assert rmsnorm_tile(5120) == {"BLOCK_T": 1, "BLOCK_K": 8192, "num_warps": 16}
    assert rmsnorm_tile(16384) == {"BLOCK_T": 1, "BLOCK_K": 16384, "num_warps": 16}


@pytest.mark.parametrize("run", COMPILED_RUNS)
@pytest.mark.parametrize(("num_rows", "width"), [(1, 16384), (513, 4096), (8192, 3584)])
def test_large_shapes_equal_the_definition(run: Run, num_rows: int, width: int) -> None:
    x_TK, weight_K = run.random(num_rows, width), run.random(width, seed=1)
    residual_TK = run.random(num_rows, width, seed=2)
    want = reference_rows.add_rmsnorm(x_TK, residual_TK.clone(), weight_K, **LLAMA)
    assert_rounds_alike("y", add_rmsnorm(x_TK, residual_TK, weight_K, **LLAMA), want)


@pytest.mark.parametrize("run", COMPILED_RUNS)
def test_rows_beyond_2_31_elements_are_read_and_written(run: Run) -> None:
    far_TK = torch.zeros(2**31 + 256, dtype=run.dtype, device="cuda").as_strided(
        (2, 64), (2**31, 1)
    )
    x_TK, weight_K = run.random(2, 64), run.random(64, seed=1)
    far_TK.copy_(run.random(2, 64, seed=2))
    want_residual = far_TK.clone()
    want = reference_rows.add_rmsnorm(x_TK, want_residual, weight_K, **LLAMA)
    assert_rounds_alike("y", add_rmsnorm(x_TK, far_TK, weight_K, **LLAMA), want)
    assert torch.equal(far_TK, want_residual)


@pytest.mark.parametrize("run", COMPILED_RUNS)
def test_graph_replays_on_new_rows(run: Run) -> None:
    x_TK, residual_TK, weight_K = (run.random(*s) for s in ((33, 768), (33, 768), (768,)))
    y_TK = torch.empty_like(x_TK)
    replayed = replay(lambda: y_TK.copy_(add_rmsnorm(x_TK, residual_TK, weight_K, **LLAMA)))
    x_TK.copy_(run.random(33, 768, seed=1))
    residual_TK.copy_(run.random(33, 768, seed=2))
    want = reference_rows.add_rmsnorm(x_TK, residual_TK.clone(), weight_K, **LLAMA)
    replayed()
    assert_rounds_alike("y", y_TK, want)


X, WEIGHT = torch.zeros(4, 96), torch.ones(96)


@pytest.mark.parametrize(
    ("x_TK", "weight_K", "message"),
    [
        (X, WEIGHT.half(), r"the weight is torch\.float16, x torch\.float32"),
        (X, torch.ones(95), r"weight \(95,\) is not contiguous \[96\]"),
        (X, torch.ones(192)[::2], r"weight \(96,\) is not contiguous"),
        (X[:, ::2], torch.ones(48), r"the columns of x .* are not adjacent"),
    ],
)
def test_wrong_rows_are_refused(x_TK: Tensor, weight_K: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rmsnorm(x_TK, weight_K, **LLAMA)


@pytest.mark.parametrize(
    ("residual_TK", "message"),
    [
        (X.half(), r"residual is torch\.float16 \(4, 96\), x torch\.float32 \(4, 96\)"),
        (X[1:], r"residual is torch\.float32 \(3, 96\)"),
        (torch.zeros(4, 192)[:, ::2], r"the columns of residual \(4, 96\) are not adjacent"),
    ],
)
def test_wrong_residual_is_refused(residual_TK: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        add_rmsnorm(X, residual_TK, WEIGHT, **LLAMA)
