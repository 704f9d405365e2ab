"""The clients and stores that a front and a worker open alike."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis

from weft.adapters.blobs import Blobs
from weft.adapters.connection import connect, connect_follower, connect_store
from weft.adapters.leases import Leases
from weft.adapters.registry import Registry
from weft.adapters.removal import Removal
from weft.adapters.store import FileStore, RedisStore
from weft.adapters.uploads import Uploads
from weft.adapters.view import RegistryView

from .config import RegistryConfig


@dataclass(frozen=True, slots=True)
class Stores:
    """Everything that lies in Redis and beside it."""

    redis: Redis
    follower: Redis
    blobs: Blobs
    uploads: Uploads
    leases: Leases
    registry: Registry
    removal: Removal
    view: RegistryView


@asynccontextmanager
async def open_stores(config: RegistryConfig) -> AsyncIterator[Stores]:
    """Connect, check the schema, and take the first snapshot.

    Raises:
        RegistryUnavailable: Redis does not answer or cannot be used.
    """
    async with AsyncExitStack() as stack:
        clients = [make(config.redis_url) for make in (connect, connect_store, connect_follower)]
        for client in clients:
            stack.push_async_callback(client.aclose)
        metadata, chunks, follower = clients
        store = (
            RedisStore(chunks)
            if config.store == "redis"
            else FileStore(Path(config.store.removeprefix("file:")))
        )
        registry = Registry(metadata)
        await registry.open()
        blobs = Blobs(metadata, store)
        view = RegistryView(registry, follower)
        await view.refresh()
        yield Stores(
            redis=metadata,
            follower=follower,
            blobs=blobs,
            uploads=Uploads(metadata, store, blobs),
            leases=Leases(metadata),
            registry=registry,
            removal=Removal(registry, blobs),
            view=view,
        )
