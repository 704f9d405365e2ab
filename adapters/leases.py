"""Leases of digests: what is leased is not removed, though nothing names it."""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import redis.asyncio

from . import keys
from .errors import AdapterError
from .lua import Script

LIFE_MS = 60_000
RENEW_S = 15

logger = logging.getLogger(__name__)


class Leases:
    """Holds digests for as long as somebody relies on their stored bytes."""

    def __init__(self, redis: redis.asyncio.Redis) -> None:
        self._redis = redis
        self._hold = Script(redis, "hold")

    @asynccontextmanager
    async def hold(self, digests: Sequence[str], *, reason: str) -> AsyncIterator[None]:
        """Lease `digests` until the block is left; a holder that dies loses them after 60 s."""
        holder = uuid.uuid4().hex
        await self._take(holder, digests, reason)
        renewing = asyncio.create_task(self._renew(holder, digests, reason))
        try:
            yield
        finally:
            renewing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await renewing
            await self._redis.unlink(keys.lease(holder))

    async def _take(self, holder: str, digests: Sequence[str], reason: str) -> None:
        named = {"holders": keys.HOLDERS, "lease": keys.lease(holder)}
        await self._hold(
            named, holder=holder, digests=list(digests), reason=reason, life_ms=LIFE_MS
        )

    async def _renew(self, holder: str, digests: Sequence[str], reason: str) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            try:
                await self._take(holder, digests, reason)
            except AdapterError as error:
                logger.warning("lease of %s not renewed: %s", reason, error)
