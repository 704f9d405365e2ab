"""Poisoned memory for every test of the folder."""

from collections.abc import Iterator, Mapping, Sequence

import pytest
import torch
from torch.overrides import TorchFunctionMode

EMPTIES = {torch.empty, torch.empty_like, torch.empty_strided, torch.Tensor.new_empty}


class PoisonEmpties(TorchFunctionMode):
    """Fill what torch leaves uninitialised: NaN, or the largest integer."""

    def __torch_function__(  # type: ignore[no-untyped-def]
        self,
        func,
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> torch.Tensor:
        result: torch.Tensor = func(*args, **(kwargs or {}))
        if func in EMPTIES:
            worst = torch.nan if result.is_floating_point() else torch.iinfo(result.dtype).max
            result.fill_(worst)
        return result


@pytest.fixture(autouse=True)
def poisoned_memory() -> Iterator[None]:
    """An element that an op leaves unwritten fails the test."""
    with PoisonEmpties():
        yield
