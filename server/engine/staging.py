"""Pinned host memory on CUDA, and the way from there to the arena."""

from dataclasses import replace

import torch
from torch import Tensor

from weft.adapters.image import Image
from weft.server.errors import StartFailed

from .runs import Runs

PIECE_BYTES = 8 * 1024**2  # small enough for a step's own copy to get in between


class Staging:
    """One region, pinned once, that holds images; and a stream of its own to the device.

    An image for which the region has no gap stays in the page cache, and goes through a small
    pinned buffer piece by piece.
    """

    def __init__(self, num_elements: int, arena: Tensor) -> None:
        """Pin the region.

        Raises:
            StartFailed: The host cannot pin as much.
        """
        num_bytes = num_elements * arena.element_size()
        self._stream = torch.cuda.Stream(arena.device)  # type: ignore[no-untyped-call]
        self._runs = Runs(num_elements, alignment=128 // arena.element_size())
        try:
            self._region = torch.empty(num_elements, dtype=arena.dtype, pin_memory=True)
            num = PIECE_BYTES // arena.element_size()
            self._buffer = torch.empty(num, dtype=arena.dtype, pin_memory=True)
        except RuntimeError as error:
            raise StartFailed(f"host_bytes {num_bytes} cannot be pinned: {error}") from error

    def hold(self, image: Image) -> Image:
        """Move the image's data into the region, if there is a gap for it."""
        if image.data.is_pinned():
            return image
        size = image.num_elements
        gap = next((w for w in self._runs.windows(size) if not w.owners), None)
        if gap is None:
            return image
        self._runs.put(image.digest, at=gap.at, size=size)
        data = self._region[gap.at : gap.at + size]
        data.copy_(image.data)
        return replace(image, data=data)

    def drop(self, digest: str) -> None:
        self._runs.remove(digest)

    def copy(self, place: Tensor, piece: Tensor) -> None:
        """Return when a piece, of at most `PIECE_BYTES`, is on the device."""
        if not piece.is_pinned():
            piece = self._buffer[: len(piece)].copy_(piece)
        with torch.cuda.stream(self._stream):
            place.copy_(piece, non_blocking=True)
            self._stream.synchronize()
