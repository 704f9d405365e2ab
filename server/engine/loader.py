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

from weft.adapters.errors import BaseNotServed, ContentCorrupt
from weft.adapters.image import Image, read_image
from weft.adapters.sites import BaseFacts
from weft.kernels import Arena

from .places import Close, Copy, Hurry, Open
from .staging import PIECE_BYTES, Staging

logger = logging.getLogger(__name__)


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
    """The bytes lie in the arena; `origin` is the tier where they were `seconds` before."""

    digest: str
    slot: int
    at: int
    image: Image
    origin: str
    seconds: float


class Missing(NamedTuple):
    """The file has gone from the local disk."""

    digest: str


class Broken(NamedTuple):
    """The image cannot be used; `reason` is a name of the API's error reasons."""

    digest: str
    reason: str
    message: str


class GivenUp(NamedTuple):
    """A copy that yields has made way for another command."""

    digest: str


Done = Opened | Copied | GivenUp | Missing | Broken


class Loader:
    """Opens and copies images one after another, and keeps them until they are closed.

    On a CPU what is kept is the mapping of the file: its bytes lie in the page cache, once.
    """

    def __init__(self, facts: BaseFacts, arena: Arena, *, host_elements: int) -> None:
        """Start the thread.

        Raises:
            StartFailed: The host cannot pin as much, on CUDA.
        """
        self._facts = facts
        self._arena = arena
        self._staging = Staging(host_elements, arena.data) if arena.data.is_cuda else None
        self._images: dict[str, Image] = {}
        self._read_s: dict[str, float] = {}
        self._commands: queue.SimpleQueue[Open | Copy | Close | Hurry | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Done] = queue.SimpleQueue()
        self._arrived = threading.Event()
        self._num_pending = 0
        self._thread = threading.Thread(target=self._work, name="loader", daemon=True)
        self._thread.start()

    @property
    def is_busy(self) -> bool:
        """Whether there are results to come or to take."""
        return self._num_pending > 0

    def put(self, command: Open | Copy | Close | Hurry) -> None:
        self._num_pending += isinstance(command, Open | Copy)
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
            if isinstance(command, Open | Copy):
                self._done.put(self._obey(command))
                self._arrived.set()
            elif isinstance(command, Close):
                self._close(command.digest)

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
        self._images[command.digest] = image
        self._read_s[command.digest] = time.monotonic() - started
        return Opened(command.digest, image.num_elements)

    def _close(self, digest: str) -> None:
        self._images.pop(digest, None)
        self._read_s.pop(digest, None)
        if self._staging is not None:
            self._staging.drop(digest)

    def _copy(self, command: Copy) -> Copied | GivenUp:
        started = time.monotonic()
        digest, slot, at, yields = command
        image = self._images[digest]
        if self._staging is not None:
            image = self._images[digest] = self._staging.hold(image)
        target = self._arena.data[at : at + image.num_elements]
        num = PIECE_BYTES // target.element_size()
        pieces = zip(torch.split(image.data, num), torch.split(target, num), strict=True)
        for piece, place in pieces:
            if yields and not self._commands.empty():
                return GivenUp(digest)
            if self._staging is None:
                place.copy_(piece)
            else:
                self._staging.copy(place, piece)
        origin = "disk" if digest in self._read_s else "host"
        seconds = self._read_s.pop(digest, 0.0) + time.monotonic() - started
        return Copied(digest, slot, at, image, origin, seconds)
