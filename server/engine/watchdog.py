"""Ends a process whose loop has stopped turning, so that its supervisor starts another."""

import logging
import os
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

STALLED_EXIT_STATUS = 70


def end_process() -> None:
    """Leave at once: the thread that should clean up is the one that hangs."""
    os._exit(STALLED_EXIT_STATUS)


class Watchdog:
    """Calls `on_stall` from a thread of its own when `beat` stays away for `limit_s`."""

    def __init__(self, limit_s: float, *, on_stall: Callable[[], None] = end_process) -> None:
        self._limit_s = limit_s
        self._on_stall = on_stall
        self._last = time.monotonic()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def beat(self) -> None:
        """Say that the loop turns."""
        self._last = time.monotonic()

    @property
    def silent_s(self) -> float:
        """Time since the last beat."""
        return time.monotonic() - self._last

    def close(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(self._limit_s / 10):
            silent_s = self.silent_s
            if silent_s > self._limit_s:
                logger.critical("no step for %.0f s, the limit is %.0f s", silent_s, self._limit_s)
                self._on_stall()
                return
