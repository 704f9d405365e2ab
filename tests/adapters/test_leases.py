"""Leases of digests."""

import asyncio

import pytest
import redis.asyncio

from weft.adapters import keys
from weft.adapters.leases import LIFE_MS, RENEW_S, Leases


async def test_a_lease_lives_while_it_is_held_and_not_longer(
    mapped_redis: redis.asyncio.Redis,
) -> None:
    async with Leases(mapped_redis).hold(["sha256:a", "sha256:b"], reason="fetch"):
        (holder,) = await mapped_redis.smembers(keys.HOLDERS)
        assert isinstance(holder, bytes)
        lease = keys.lease(holder.decode())
        assert await mapped_redis.hgetall(lease) == {b"sha256:a": b"fetch", b"sha256:b": b"fetch"}
        assert 0 < await mapped_redis.pttl(lease) <= LIFE_MS
    assert await mapped_redis.exists(lease) == 0


async def test_a_lease_ends_when_its_work_fails_or_is_cancelled(
    mapped_redis: redis.asyncio.Redis,
) -> None:
    leases, held = Leases(mapped_redis), asyncio.Event()

    async def work() -> None:
        async with leases.hold(["sha256:a"], reason="fetch"):
            held.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await held.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ZeroDivisionError):
        async with leases.hold(["sha256:a"], reason="fetch"):
            raise ZeroDivisionError
    assert await mapped_redis.keys(keys.LEASE_PREFIX + "*") == []


def test_a_lease_outlives_three_lost_renewals() -> None:
    assert 3 * 1000 * RENEW_S < LIFE_MS
