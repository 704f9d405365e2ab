"""Copies between host and device that nobody waits for."""

from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor


def to_device(array: npt.NDArray[Any], device: torch.device) -> Tensor:
    """Send an array, which must not change any more; on a CPU the tensor shares its memory."""
    tensor = torch.from_numpy(array)
    if device.type == "cpu":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)


class Fetched:
    """Tensors on their way to the host."""

    def __init__(self, *tensors: Tensor) -> None:
        """Start the copies, behind whatever makes the tensors."""
        self._copies = [tensor.to("cpu", non_blocking=True) for tensor in tensors]
        self._arrived: torch.cuda.Event | None = None
        if any(tensor.is_cuda for tensor in tensors):
            self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._arrived.record()

    def read(self) -> list[Tensor]:
        """Wait for the copies, and answer them."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._copies
