"""The shipped Redis users: enough for Weft, and for nothing else."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis.asyncio
from redis.exceptions import NoPermissionError

from tests.adapters.registry_cases import RecordingRegistry, content, publish
from weft.adapters import keys
from weft.adapters.blobs import Blobs
from weft.adapters.connection import connect, connect_follower, connect_store
from weft.adapters.digest import digest_bytes
from weft.adapters.leases import Leases
from weft.adapters.records import Call
from weft.adapters.removal import Removal
from weft.adapters.store import RedisStore
from weft.adapters.uploads import Uploads
from weft.adapters.view import RegistryView

USERS = Path(__file__).parents[2] / "deploy" / "redis" / "users.acl"
PASSWORD = "known-to-this-test"


def rules() -> dict[str, list[str]]:
    lines = (line.split() for line in USERS.read_text().splitlines())
    return {name: given for _, name, *given in lines}


@pytest.fixture(params=["weft-server", "weft-worker"])
async def user_url(
    request: pytest.FixtureRequest, redis_client: redis.asyncio.Redis, redis_url: str
) -> AsyncIterator[str]:
    """The server's URL for one of the shipped users, with a password that it gets for now."""
    user = request.param
    pipeline = redis_client.pipeline()
    pipeline.execute_command("ACL", "SETUSER", user, "reset", f">{PASSWORD}", *rules()[user])
    await pipeline.execute()
    scheme, _, rest = redis_url.partition("://")
    yield f"{scheme}://{user}:{PASSWORD}@{rest}"
    await redis_client.acl_deluser(user)


def test_nobody_has_a_password_in_the_file() -> None:
    given = [rule for user in rules().values() for rule in user]
    assert not [rule for rule in given if rule[0] in "><#!" or rule == "nopass"]
    assert set(rules()) == {"weft-server", "weft-worker", "weft-admin"}


async def test_upload_publish_view_and_removal_run_under_it(user_url: str) -> None:
    data = b"bytes"
    async with (
        connect(user_url) as metadata,
        connect_store(user_url) as chunks,
        connect_follower(user_url) as follower,
    ):
        registry = RecordingRegistry(metadata)
        await registry.open()
        store = RedisStore(chunks)
        blobs = Blobs(metadata, store)
        uploads = Uploads(metadata, store, blobs)
        opened = await uploads.create("acme", digest_bytes(data), len(data))
        writer = await uploads.open_writer("acme", opened.upload_id)
        await writer.write(0, data)
        digest = await uploads.commit("acme", opened.upload_id)
        async with Leases(metadata).hold([digest], reason="test"):
            assert await blobs.read_bytes(digest) == data
        view = RegistryView(registry, follower)
        await view.refresh()
        await publish(registry, "support")
        await view.refresh()
        assert view.resolve("acme", "support").digest == content().digest
        call = Call("acme", "alice")
        await registry.delete_alias(call, "support", "latest")
        await registry.retire_version(call, "support", 1)
        await registry.delete_version(call, "support", 1)
        assert await blobs.discard(digest, unless_asked_since_ms=await blobs.now_ms())
        await Removal(registry, blobs).sweep()


async def test_other_keys_and_dangerous_commands_are_refused(user_url: str) -> None:
    async with redis.asyncio.Redis.from_url(user_url) as client:
        for call in (client.flushall, client.keys, client.config_get, client.shutdown):
            with pytest.raises(NoPermissionError):
                await call()
        with pytest.raises(NoPermissionError):
            await client.set("another", "value")
        await client.set(keys.chunk("sid", 0), b"value")
