"""What the tests of the row ops share: their bound, and memory with bands around it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .cases import assert_near

BAND = 64  # elements


def assert_rounds_alike(name: str, got: Tensor, want: Tensor) -> None:
    """Equal but for single elements whose sums fell on the other side of a tie.

    A rounding more or less than the definition has moves a 16-bit result by a third of epsilon.
    """
    assert got.dtype == want.dtype
    eps = torch.finfo(want.dtype).eps
    tolerance = 8 * eps if want.dtype == torch.float32 else eps / 16
    assert_near(name, got, want, tolerance=tolerance)


class BandedEmpties(TorchFunctionMode):
    """Give the floats that an op allocates by `new_empty` a band on both sides."""

    def __init__(self) -> None:
        self.bands: list[Tensor] = []

    def __torch_function__(  # type: ignore[no-untyped-def]
        self,
        func,
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> Tensor:
        result: Tensor = func(*args, **(kwargs or {}))
        if func is not torch.Tensor.new_empty or not result.is_floating_point():
            return result
        buffer = result.new_full((result.numel() + 2 * BAND,), 7.0)
        self.bands += [buffer[:BAND], buffer[-BAND:]]
        return buffer[BAND:-BAND].view_as(result).fill_(torch.nan)


@contextmanager
def banded_memory() -> Iterator[None]:
    """Fail if anything beside an allocated output is written."""
    with BandedEmpties() as empties:
        yield
    assert empties.bands
    assert all((band == 7).all() for band in empties.bands)


def replay(run: Callable[[], object]) -> Callable[[], None]:
    """Capture `run` in a CUDA graph; what is returned replays it."""
    run()  # compiles
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay
