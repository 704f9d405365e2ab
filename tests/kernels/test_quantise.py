"""The kernel equals the definition: in the interpreter on e4m3's own values, compiled on any.

The interpreter's cast to e4m3 loses the carry of a mantissa that is rounded up.
"""

import pytest
import torch
from torch import Tensor

from weft.kernels.quantise import E4M3, quantise_rows
from weft.kernels.reference_quantise import LARGEST
from weft.kernels.reference_quantise import quantise_rows as define

from .cases import COMPILED_RUNS, TRITON_RUNS, Run
from .rows import replay

NORMAL = [i for i in range(256) if 8 <= i % 128 < 127]  # by their bits


def exact_rows(run: Run, num_rows: int, width: int) -> Tensor:
    """Rows of e4m3's values, the largest among them, times a power of two for each row."""
    draw = torch.Generator().manual_seed(width)
    places = torch.randint(len(NORMAL), (num_rows, width), generator=draw)
    x_TK = torch.tensor(NORMAL, dtype=torch.uint8)[places].view(E4M3).float()
    x_TK[torch.arange(num_rows), places[:, 0] % width] = -LARGEST[E4M3]
    x_TK *= 2.0 ** (torch.arange(num_rows) % 9 - 7)[:, None]
    return x_TK.to(run.device, run.dtype)


def assert_equal(found: tuple[Tensor, Tensor], wanted: tuple[Tensor, Tensor]) -> None:
    for got, want in zip(found, wanted, strict=True):
        assert got.dtype == want.dtype
        assert torch.equal(got.float(), want.float())


@pytest.mark.parametrize("run", TRITON_RUNS)
@pytest.mark.parametrize(("num_rows", "width"), [(1, 64), (37, 67), (5, 768), (3, 5000)])
def test_equals_the_definition(run: Run, num_rows: int, width: int) -> None:
    x_TK = exact_rows(run, num_rows, width)
    found = quantise_rows(x_TK)
    assert_equal(found, define(x_TK, E4M3))
    assert torch.equal((found[0].float() * found[1]), x_TK.float())


@pytest.mark.parametrize("run", TRITON_RUNS)
def test_rows_of_a_wider_tensor_and_none(run: Run) -> None:
    wide_TK = exact_rows(run, 9, 200)
    x_TK = wide_TK[1:, 3:131]
    q_TK, scale_T1 = quantise_rows(x_TK)
    assert q_TK.is_contiguous()
    assert torch.equal(scale_T1, define(x_TK, E4M3)[1])
    q_TK, scale_T1 = quantise_rows(wide_TK[:0])
    assert (q_TK.shape, scale_T1.shape) == ((0, 200), (0, 1))


@pytest.mark.parametrize("run", TRITON_RUNS)
def test_zeros_stay_zeros_and_a_nan_is_not_hidden(run: Run) -> None:
    x_TK = exact_rows(run, 3, 96)
    x_TK[0] = 0
    x_TK[1, 50] = torch.nan
    q_TK, scale_T1 = quantise_rows(x_TK)
    assert (q_TK[0].float() == 0).all()
    assert scale_T1.isfinite().flatten().tolist() == [True, False, True]


@pytest.mark.parametrize("run", COMPILED_RUNS)
@pytest.mark.parametrize(
    ("num_rows", "width"), [(1, 16384), (513, 4096), (8192, 14336), (3, 29568)]
)
def test_any_values_equal_the_definition(run: Run, num_rows: int, width: int) -> None:
    x_TK = run.random(num_rows, width)
    assert_equal(quantise_rows(x_TK), define(x_TK, E4M3))


@pytest.mark.parametrize("run", COMPILED_RUNS)
def test_graph_replays_on_new_rows(run: Run) -> None:
    x_TK = run.random(33, 768)
    q_TK, scale_T1 = quantise_rows(x_TK)

    def again() -> None:
        for kept, new in zip((q_TK, scale_T1), quantise_rows(x_TK), strict=True):
            kept.copy_(new)

    replayed = replay(again)
    x_TK.copy_(run.random(33, 768, seed=1))
    replayed()
    assert_equal((q_TK, scale_T1), define(x_TK, E4M3))


def test_wrong_rows_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the columns of x \(4, 48\) are not adjacent"):
        quantise_rows(torch.zeros(4, 96)[:, ::2])
