"""Adapters that are brought to a tier, and kept there, without a sequence that wants them."""

import time
from collections.abc import Callable
from typing import NamedTuple

from weft.adapters.errors import QuotaExceeded
from weft.server.channel import Placed, Unplaced, Warm

from .residency import Residency

Answer = Callable[[bytes, Placed | Unplaced], None]


class Errand(NamedTuple):
    peer: bytes
    request: Warm


class Errands:
    """Errands under way; each waits for its adapter like a sequence."""

    def __init__(self, residency: Residency, *, answer: Answer) -> None:
        self._residency = residency
        self._answer = answer
        self._pending: list[Errand] = []

    @property
    def num_waiting(self) -> int:
        return len(self._pending)

    def add(self, peer: bytes, request: Warm) -> None:
        """Start to bring an adapter; say where it lies so far."""
        tier = self._residency.want(request.digest, peer, now=time.monotonic())
        self._answer(peer, Placed(request.call, tier, reached=False))
        self._pending.append(Errand(peer, request))

    def step(self) -> None:
        """End every errand whose adapter has arrived, before it goes further."""
        for errand in list(self._pending):
            tier = self._reached(errand.request)
            if tier is not None:
                self._pending.remove(errand)
                self._answer(errand.peer, self._end(errand.request, tier))

    def _reached(self, request: Warm) -> str | None:
        """The asked tier or a nearer one, once it holds the adapter."""
        tiers = (request.tier, "arena")
        return next((t for t in tiers if self._residency.is_in(t, request.digest)), None)

    def fail(self, digest: str, reason: str, message: str) -> None:
        """The adapter could not be loaded."""
        for errand in [e for e in self._pending if e.request.digest == digest]:
            self._pending.remove(errand)
            self._residency.unwant(digest)
            self._answer(errand.peer, Unplaced(errand.request.call, reason, message))

    def refetch(self, digest: str) -> None:
        """The file has gone: ask the fronts for it again."""
        for errand in self._pending:
            if errand.request.digest == digest:
                self._residency.refetch(digest, errand.peer)

    def _end(self, request: Warm, tier: str) -> Placed | Unplaced:
        try:
            if request.pin:
                self._residency.pin(request.digest, tier)
        except QuotaExceeded as error:
            return Unplaced(request.call, "QUOTA_EXCEEDED", str(error), error.metadata)
        finally:
            self._residency.unwant(request.digest)
        return Placed(request.call, tier, reached=True)
