"""The generator's processes: some that send, and one that publishes."""

import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Self

from .generator import Target, play
from .outcome import Outcome
from .script import Arrival

LEAD_S = 0.3
"""From handing a script out to its begin."""


class Senders:
    """Processes that live as long as this object: only the first script waits for their start."""

    def __init__(self, num: int) -> None:
        self._num = num
        self._pool = ProcessPoolExecutor(num + 1, multiprocessing.get_context("spawn"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def play(self, target: Target, script: Sequence[Arrival], *, ends_s: float) -> list[Outcome]:
        """Send a script, its publications from a process that sends nothing else."""
        publications = [arrival for arrival in script if arrival.publishes is not None]
        calls = [arrival for arrival in script if arrival.publishes is None]
        parts = [calls[i :: self._num] for i in range(self._num)]
        begins = time.monotonic() + LEAD_S
        futures = [
            self._pool.submit(play, target, part, begins=begins, ends_s=ends_s)
            for part in (*parts, publications)
            if part
        ]
        return [outcome for future in futures for outcome in future.result()]
