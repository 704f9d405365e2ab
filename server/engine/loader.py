"""Brings images from the local disk into the arena, in a thread of its own, beside the steps.

The engine's thread hands over commands and takes results, each through one queue. Until a result
is taken, the run that its Copy names belongs to this thread; rows are written by the engine's.
"""

import logging
import queue
import threading
import time
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from weft.adapters.errors import BaseNotServed, ContentCorrupt
from weft.adapters.image import Image, read_image
from weft.adapters.sites import BaseFacts
from weft.kernels import Arena

from .places import Close, Copy, Open

logger = logging.getLogger(__name__)

PIECE_BYTES = 8 * 1024**2  # small enough for a step's own copy to get in between


def stay_single() -> None:
    """Keep the products and copies of the calling thread on this thread alone.

    A second thread with OpenMP workers makes more of them than there are cores, and libgomp's
    workers sleep then instead of spinning: a CPU's step took 36 ms instead of 22 (82M Llama, 16
    rows, bf16, 2 cores, torch 2.13).
    """
    torch.set_num_threads(1)


class Opened(NamedTuple):
    """The image is one of this base and layout, of `size` elements."""

    digest: str
    size: int


class Copied(NamedTuple):
    """The bytes lie in the arena; `seconds` counts from the Open."""

    digest: str
    slot: int
    at: int
    image: Image
    seconds: float


class Missing(NamedTuple):
    """The file has gone from the local disk."""

    digest: str


class Broken(NamedTuple):
    """The image cannot be used; `reason` is a name of the API's error reasons."""

    digest: str
    reason: str
    message: str


Done = Opened | Copied | Missing | Broken


class Loader:
    """Opens and copies images one after another."""

    def __init__(self, facts: BaseFacts, arena: Arena) -> None:
        self._facts = facts
        self._arena = arena
        self._stage = _Stage(arena.data) if arena.data.is_cuda else None
        self._images: dict[str, tuple[Image, float]] = {}
        self._commands: queue.SimpleQueue[Open | Copy | Close | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Done] = queue.SimpleQueue()
        self._arrived = threading.Event()
        self._num_pending = 0
        self._thread = threading.Thread(target=self._work, name="loader", daemon=True)
        self._thread.start()

    @property
    def is_busy(self) -> bool:
        """Whether there are results to come or to take."""
        return self._num_pending > 0

    def put(self, command: Open | Copy | Close) -> None:
        self._num_pending += not isinstance(command, Close)
        self._commands.put(command)

    def take(self) -> list[Done]:
        """Answer what has been done since the last call, without waiting."""
        self._arrived.clear()
        done = []
        while not self._done.empty():
            done.append(self._done.get())
        self._num_pending -= len(done)
        return done

    def wait(self, timeout_s: float) -> None:
        """Return when something has been done, or after `timeout_s`."""
        self._arrived.wait(timeout_s)

    def close(self) -> None:
        self._commands.put(None)
        self._thread.join()

    def _work(self) -> None:
        stay_single()
        while (command := self._commands.get()) is not None:
            if isinstance(command, Close):
                self._images.pop(command.digest, None)
                continue
            self._done.put(self._obey(command))
            self._arrived.set()

    def _obey(self, command: Open | Copy) -> Done:
        try:
            return self._open(command) if isinstance(command, Open) else self._copy(command)
        except FileNotFoundError:
            return Missing(command.digest)
        except ContentCorrupt as error:
            return Broken(command.digest, "CONTENT_CORRUPT", str(error))
        except BaseNotServed as error:
            return Broken(command.digest, "BASE_NOT_SERVED", str(error))
        except Exception:
            logger.exception("adapter %s could not be loaded", command.digest)
            message = "the adapter's image could not be read"
            return Broken(command.digest, "ADAPTER_LOAD_FAILED", message)

    def _open(self, command: Open) -> Opened:
        started = time.monotonic()
        image = read_image(Path(command.path), self._facts)
        if image.digest != command.digest:
            raise ContentCorrupt(f"the image of {command.digest} is one of {image.digest}")
        self._images[command.digest] = image, started
        return Opened(command.digest, image.num_elements)

    def _copy(self, command: Copy) -> Copied:
        image, started = self._images.pop(command.digest)
        target = self._arena.data[command.at : command.at + image.num_elements]
        if self._stage is None:
            target.copy_(image.data)
        else:
            self._stage.copy(target, image.data)
        seconds = time.monotonic() - started
        return Copied(command.digest, command.slot, command.at, image, seconds)


class _Stage:
    """Pinned memory and a stream of its own, through which pieces go to the device."""

    def __init__(self, arena: Tensor) -> None:
        self._stream = torch.cuda.Stream(arena.device)  # type: ignore[no-untyped-call]
        size = PIECE_BYTES // arena.element_size()
        self._pinned = torch.empty(size, dtype=arena.dtype, pin_memory=True)

    def copy(self, target: Tensor, source: Tensor) -> None:
        """Return when all bytes are on the device."""
        with torch.cuda.stream(self._stream):
            size = len(self._pinned)
            pieces = zip(torch.split(source, size), torch.split(target, size), strict=True)
            for piece, place in pieces:
                staged = self._pinned[: len(piece)]
                staged.copy_(piece)
                place.copy_(staged, non_blocking=True)
                self._stream.synchronize()
