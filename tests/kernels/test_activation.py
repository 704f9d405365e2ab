import pytest
import torch
from torch import Tensor

from weft.kernels import reference_rows
from weft.kernels.activation import Activation, glu

from .cases import COMPILED_RUNS, TRITON_RUNS, Run
from .rows import assert_rounds_alike, banded_memory, replay

ACTIVATIONS: list[Activation] = ["silu", "gelu", "gelu_tanh"]


@pytest.mark.parametrize("run", TRITON_RUNS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("num_rows", "half"), [(1, 1), (7, 67), (3, 1024), (2, 1031)])
def test_glu_equals_the_definition(
    run: Run, activation: Activation, num_rows: int, half: int
) -> None:
    y_TN = 3 * run.random(num_rows, 2 * half)
    with banded_memory():
        got = glu(y_TN, activation=activation)
    assert_rounds_alike("x", got, reference_rows.glu(y_TN, activation=activation))


@pytest.mark.parametrize("run", TRITON_RUNS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_large_gates_open_or_shut(run: Run, activation: Activation) -> None:
    gate_K = torch.tensor([-60000.0, -100, -12, 0, 12, 100, 60000], device=run.device)
    y_TN = torch.cat((gate_K, torch.full_like(gate_K, 0.5)))[None].to(run.dtype)
    got = glu(y_TN, activation=activation)
    assert_rounds_alike("x", got, reference_rows.glu(y_TN, activation=activation))
    assert torch.equal(got[0, 4:], y_TN[0, 4:7] / 2) or activation == "silu"


@pytest.mark.parametrize("run", TRITON_RUNS)
def test_rows_of_a_wider_tensor(run: Run) -> None:
    wide = run.random(5, 150)
    y_TN = wide[1:, 3:137]
    got = glu(y_TN, activation="silu")
    assert got.is_contiguous()
    assert_rounds_alike("x", got, reference_rows.glu(y_TN, activation="silu"))


@pytest.mark.parametrize("run", TRITON_RUNS)
def test_no_rows(run: Run) -> None:
    assert glu(run.random(0, 192), activation="silu").shape == (0, 96)


@pytest.mark.parametrize("run", COMPILED_RUNS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("num_rows", "half"), [(1, 14336), (513, 11008), (8192, 4104)])
def test_large_shapes_equal_the_definition(
    run: Run, activation: Activation, num_rows: int, half: int
) -> None:
    y_TN = run.random(num_rows, 2 * half)
    got = glu(y_TN, activation=activation)
    assert_rounds_alike("x", got, reference_rows.glu(y_TN, activation=activation))


@pytest.mark.parametrize("run", COMPILED_RUNS)
def test_rows_beyond_2_31_elements_are_read(run: Run) -> None:
    far_TN = torch.zeros(2**31 + 256, dtype=run.dtype, device="cuda").as_strided(
        (2, 64), (2**31, 1)
    )
    far_TN.copy_(run.random(2, 64))
    got = glu(far_TN, activation="silu")
    assert_rounds_alike("x", got, reference_rows.glu(far_TN, activation="silu"))


@pytest.mark.parametrize("run", COMPILED_RUNS)
def test_graph_replays_on_new_rows(run: Run) -> None:
    y_TN, x_TK = run.random(33, 1536), run.random(33, 768)
    replayed = replay(lambda: x_TK.copy_(glu(y_TN, activation="silu")))
    y_TN.copy_(run.random(33, 1536, seed=1))
    replayed()
    assert_rounds_alike("x", x_TK, reference_rows.glu(y_TN, activation="silu"))


@pytest.mark.parametrize(
    ("y_TN", "message"),
    [
        (torch.zeros(4, 7), r"y \(4, 7\) has no two halves"),
        (torch.zeros(4, 16)[:, ::2], r"the columns of y \(4, 8\) are not adjacent"),
    ],
)
def test_wrong_rows_are_refused(y_TN: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        glu(y_TN, activation="silu")
