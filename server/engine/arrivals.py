"""Requests from their arrival until they are queued.

Some wait here: for their grammar, which is compiled beside the steps, or for the first token of
another stream of the same prompt, so that they find the prompt computed. Each of them has been
promised a place in the queue, and counts as if it stood there.
"""

import logging
from concurrent.futures import Future
from itertools import count
from typing import NamedTuple

from weft.server.channel import Failed, Submit
from weft.server.errors import DeadlineExceeded, QueueFull, RequestInvalid

from .constraint import Constraint, Grammars
from .figures import Figures
from .scheduler import Scheduler
from .streams import Streams

logger = logging.getLogger(__name__)


class Arrived(NamedTuple):
    """A request; `number` is its place among all that arrived, `since` when it did."""

    peer: bytes
    request: Submit
    number: int
    since: float
    constraint: Future[Constraint] | None = None


class Arrivals:
    """Queues requests, at once or when what they wait for has come."""

    def __init__(
        self, scheduler: Scheduler, streams: Streams, *, grammars: Grammars, figures: Figures
    ) -> None:
        self._scheduler = scheduler
        self._streams = streams
        self._grammars = grammars
        self._figures = figures
        self._numbers = count()
        self._waiting: list[Arrived] = []

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_compiling(self) -> bool:
        """Whether the thread beside the steps has something in hand."""
        return any(arrived.constraint is not None for arrived in self._waiting)

    def submit(self, peer: bytes, request: Submit, *, now: float) -> None:
        """Queue a request, or let it wait; its front is told if it can do neither."""
        arrived = Arrived(peer, request, next(self._numbers), now)
        if request.grammar is None and not self._waits(arrived):
            self._queue(arrived, is_promised=False)
            return
        try:
            self._scheduler.promise(request)
        except (RequestInvalid, QueueFull) as error:
            self._streams.refuse(peer, request, error)
            return
        if request.grammar is not None:
            arrived = arrived._replace(constraint=self._grammars.compile(request.grammar))
        self._waiting.append(arrived)

    def step(self) -> None:
        """Queue whoever waits no longer, in order: one that is queued now may be waited for."""
        waiting, self._waiting = self._waiting, []
        for arrived in waiting:
            if self._waits(arrived):
                self._waiting.append(arrived)
            else:
                self._scheduler.withdraw(arrived.request)
                self._queue(arrived, is_promised=True)

    def drop(self, peer: bytes, stream: int) -> None:
        """Forget a request that is no longer wanted."""
        self._forget([a for a in self._waiting if (a.peer, a.request.stream) == (peer, stream)])

    def drop_fronts(self, peers: set[bytes]) -> None:
        """Forget what was for fronts that are gone."""
        self._forget([arrived for arrived in self._waiting if arrived.peer in peers])

    def close(self) -> None:
        """End the thread beside the steps."""
        self._grammars.close()

    def check_integrity(self) -> None:
        """Assert that the queue counts those who wait here."""
        num_tokens = sum(len(arrived.request.tokens) for arrived in self._waiting)
        assert self._scheduler.promised == (len(self._waiting), num_tokens)

    def _waits(self, arrived: Arrived) -> bool:
        """Whether its grammar, or the first token of the stream it follows, is still to come."""
        if arrived.constraint is not None and not arrived.constraint.done():
            return True
        after = arrived.request.after
        leader = None if after is None else self._streams.get(arrived.peer, after)
        return leader is not None and not leader.num_generated

    def _queue(self, arrived: Arrived, *, is_promised: bool) -> None:
        peer, request, number, since, constraint = arrived
        error = None if constraint is None else constraint.exception()
        if error is not None and not isinstance(error, RequestInvalid):
            logger.error("a grammar could not be compiled", exc_info=error)
            message = "the grammar was not compiled"
            self._streams.tell(peer, Failed(request.stream, "INTERNAL", message))
            return
        try:
            place = None if constraint is None else constraint.result()
            sequence = self._scheduler.submit(
                peer, request, arrival=number, now=since, is_promised=is_promised
            )
        except (RequestInvalid, QueueFull, DeadlineExceeded) as refusal:
            self._streams.refuse(peer, request, refusal)
            return
        sequence.constraint = place
        self._streams.add(sequence)
        if sequence.tier:
            self._figures.count_lookup(sequence.tier)

    def _forget(self, unwanted: list[Arrived]) -> None:
        for arrived in unwanted:
            self._waiting.remove(arrived)
            self._scheduler.withdraw(arrived.request)
