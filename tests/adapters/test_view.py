"""The followed copy: resolved from memory, and right again after Redis lost something."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import redis.asyncio

from weft.adapters import keys
from weft.adapters.connection import connect, connect_follower
from weft.adapters.errors import ModelNotFound, RegistryUnavailable, VersionRetired
from weft.adapters.names import SHARED
from weft.adapters.records import Call, Event
from weft.adapters.view import RegistryView, Snapshot

from .conftest import FullRedis
from .registry_cases import RecordingRegistry, content, publish

ACME = Call("acme", "alice")
TIMEOUT_S = 10
UNKNOWN = ["kind", "adapter.renamed", "tenant", "acme", "adapter", "a", "name", "x", "state", "{}"]
ALIAS = '{"version":1,"generation":1,"previous":null}'
MOVED = ["kind", "alias.set", "tenant", "acme", "adapter", "support", "state", ALIAS]


@pytest.fixture
async def registry(mapped_redis: redis.asyncio.Redis) -> RecordingRegistry:
    registry = RecordingRegistry(mapped_redis)
    await registry.open()
    return registry


@pytest.fixture
async def view(registry: RecordingRegistry, redis_url: str) -> AsyncIterator[RegistryView]:
    """A copy that is brought up to date by hand."""
    client = connect_follower(redis_url)
    view = RegistryView(registry, client, block_ms=200)
    await view.refresh()
    yield view
    await client.aclose()


@asynccontextmanager
async def following(view: RegistryView) -> AsyncIterator[None]:
    """Keep the copy up to date; a follower that fails fails the test."""
    test = asyncio.current_task()
    assert test is not None
    task = asyncio.create_task(view.follow())
    task.add_done_callback(lambda _: test.cancel() if not task.cancelled() else None)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_every_form_of_reference_resolves(
    registry: RecordingRegistry, view: RegistryView
) -> None:
    for seed in (1, 2):
        await publish(registry, "support", seed=seed)
    await registry.set_alias(ACME, "support", "prod", version=1)
    await view.refresh()
    for reference, number in {
        "support": 2,
        "support:latest": 2,
        "support:prod": 1,
        "support@1": 1,
        content(1).digest: 1,
    }.items():
        resolved = view.resolve("acme", reference)
        assert (resolved.adapter, resolved.version) == ("support", number), reference
        assert resolved.digest == content(number).digest
        assert resolved.event_id == view.cursor


@pytest.mark.parametrize(
    "reference", ["", "other", "support:prod", "support@9", content(9).digest, "shared/support"]
)
async def test_what_is_not_there_is_no_model(
    registry: RecordingRegistry, view: RegistryView, reference: str
) -> None:
    await publish(registry, "support")
    await view.refresh()
    with pytest.raises(ModelNotFound):
        view.resolve("acme", reference)


async def test_another_tenant_resolves_nothing_of_it(
    registry: RecordingRegistry, view: RegistryView
) -> None:
    published = await publish(registry, "support")
    await view.refresh()
    for reference in ("support", "support@1", published.version.digest):
        with pytest.raises(ModelNotFound):
            view.resolve("other", reference)
    assert view.snapshot("other").adapters == ()


async def test_shared_adapters_are_everybodys_by_their_full_name(
    registry: RecordingRegistry, view: RegistryView
) -> None:
    shared = await publish(registry, "greeter", call=Call(SHARED, "admin"))
    await view.refresh()
    for reference in ("shared/greeter", "shared/greeter@1", shared.version.digest):
        assert view.resolve("acme", reference).tenant == SHARED
    with pytest.raises(ModelNotFound):
        view.resolve("acme", "greeter")


async def test_a_retired_version_is_refused_and_comes_back(
    registry: RecordingRegistry, view: RegistryView
) -> None:
    await publish(registry, "support", aliases=())
    await registry.retire_version(ACME, "support", 1)
    await view.refresh()
    for reference in ("support@1", content().digest):
        with pytest.raises(VersionRetired):
            view.resolve("acme", reference)
    await registry.restore_version(ACME, "support", 1)
    await view.refresh()
    assert view.resolve("acme", "support@1").version == 1


async def test_a_digest_prefers_a_version_that_is_served(
    registry: RecordingRegistry, view: RegistryView
) -> None:
    await publish(registry, "one", aliases=())
    await publish(registry, "two", aliases=())
    await registry.retire_version(ACME, "two", 1)
    await view.refresh()
    assert view.resolve("acme", content().digest).adapter == "one"
    await registry.delete_version(ACME, "two", 1)
    await view.refresh()
    assert view.resolve("acme", content().digest).adapter == "one"


async def test_the_followed_copy_equals_a_fresh_one(
    registry: RecordingRegistry, view: RegistryView, redis_url: str
) -> None:
    for seed in (1, 2, 3):
        await publish(registry, "support", seed=seed)
    await publish(registry, "other")
    await registry.set_alias(ACME, "support", "prod", version=1)
    await registry.rollback_alias(ACME, "support", "latest")
    await registry.delete_alias(ACME, "support", "prod")
    await registry.retire_version(ACME, "support", 3)
    await registry.delete_version(ACME, "support", 3)
    await registry.update_labels(ACME, "support", {"team": "a"})
    await registry.delete_alias(ACME, "other", "latest")
    await registry.retire_version(ACME, "other", 1)
    await registry.delete_version(ACME, "other", 1)
    await registry.delete_adapter(ACME, "other")
    await view.refresh()
    async with connect_follower(redis_url) as client:
        fresh = RegistryView(registry, client)
        await fresh.refresh()
        assert view.snapshot("acme") == fresh.snapshot("acme")
        assert len(fresh.snapshot("acme").versions) == 2


async def test_a_follower_learns_of_a_publish(
    registry: RecordingRegistry, view: RegistryView
) -> None:
    async with following(view):
        published = await publish(registry, "support")
        await view.wait_for(published.event_id)
        assert view.resolve("acme", "support").version == 1
        assert not view.stale
        assert view.lag_s < TIMEOUT_S


async def test_waiting_for_no_event_is_a_mistake(view: RegistryView) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        await view.wait_for("soon")


async def test_an_emptied_server_empties_the_copy(
    registry: RecordingRegistry, view: RegistryView, redis_client: redis.asyncio.Redis
) -> None:
    await publish(registry, "support")
    await view.refresh()
    await redis_client.flushall()
    await view.refresh()
    with pytest.raises(ModelNotFound):
        view.resolve("acme", "support")
    await publish(registry, "support", seed=2)
    await view.refresh()
    assert view.resolve("acme", "support").digest == content(2).digest


async def test_an_exchanged_server_is_noticed_before_its_first_event(
    registry: RecordingRegistry, view: RegistryView, redis_client: redis.asyncio.Redis
) -> None:
    await publish(registry, "support")
    await redis_client.delete(keys.EVENTS)
    await view.refresh()
    await redis_client.delete(keys.NAMESPACES)
    await redis_client.set(keys.EPOCH, "another")
    await view.refresh()
    with pytest.raises(ModelNotFound):
        view.resolve("acme", "support")


async def test_a_full_server_is_followed(
    registry: RecordingRegistry, view: RegistryView, full_redis: FullRedis
) -> None:
    await publish(registry, "support", aliases=())
    await view.refresh()
    async with full_redis:
        await registry.retire_version(ACME, "support", 1)
        await view.refresh()
        with pytest.raises(VersionRetired):
            view.resolve("acme", "support@1")


async def test_versions_of_a_lost_tail_are_hidden(
    registry: RecordingRegistry, view: RegistryView, redis_client: redis.asyncio.Redis
) -> None:
    await publish(registry, "support")
    kept = {key: await redis_client.dump(key) async for key in redis_client.scan_iter("*")}
    await publish(registry, "support", seed=2)
    await view.refresh()
    assert view.resolve("acme", "support").version == 2
    await redis_client.flushall()
    for key, value in kept.items():
        assert value is not None
        await redis_client.restore(key, 0, value)
    await publish(registry, "other")
    await view.refresh()
    assert view.resolve("acme", "support").version == 1
    assert view.resolve("acme", "other").version == 1


async def test_a_trimmed_stream_makes_a_new_snapshot(
    registry: RecordingRegistry, view: RegistryView, redis_client: redis.asyncio.Redis
) -> None:
    await publish(registry, "support")
    await view.refresh()
    for seed in (2, 3):
        await publish(registry, "support", seed=seed)
    await redis_client.xtrim(keys.EVENTS, maxlen=1, approximate=False)
    await view.refresh()
    assert [version.number for version in view.snapshot("acme").versions] == [1, 2, 3]


async def test_an_unknown_event_makes_a_new_snapshot(
    registry: RecordingRegistry,
    view: RegistryView,
    redis_client: redis.asyncio.Redis,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await publish(registry, "support")
    pipeline = redis_client.pipeline()
    pipeline.execute_command("XADD", keys.EVENTS, "*", *UNKNOWN)
    await pipeline.execute()
    await view.refresh()
    assert view.resolve("acme", "support").version == 1
    assert [record.message for record in caplog.records] == [
        "unknown event adapter.renamed: taking a new snapshot"
    ]


async def test_more_events_than_a_page_are_all_applied(
    registry: RecordingRegistry, view: RegistryView, redis_client: redis.asyncio.Redis
) -> None:
    await publish(registry, "support")
    pipeline = redis_client.pipeline()
    for number in range(1200):
        pipeline.execute_command("XADD", keys.EVENTS, "*", *MOVED, "name", f"a{number}")
    *_, last = await pipeline.execute()
    async with following(view):
        await view.wait_for(last.decode())
        assert view.resolve("acme", "support:a1199").version == 1


async def test_without_redis_the_copy_still_answers(
    registry: RecordingRegistry, view: RegistryView
) -> None:
    await publish(registry, "support")
    await view.refresh()
    async with connect("unix:///nonexistent/redis.sock") as dead:
        lost = RegistryView(RecordingRegistry(dead), dead)
        assert lost.stale
        lost._state, lost._current_at = view._state, view._current_at
        with pytest.raises(RegistryUnavailable):
            await lost.refresh()
        assert lost.resolve("acme", "support").version == 1


async def test_a_watcher_sees_a_snapshot_then_its_tenants_changes(
    registry: RecordingRegistry, view: RegistryView
) -> None:
    await publish(registry, "support")
    await view.refresh()
    watching = view.watch("acme")
    snapshot = await anext(watching)
    assert isinstance(snapshot, Snapshot)
    assert [adapter.name for adapter in snapshot.adapters] == ["support"]
    await publish(registry, "support", seed=2, call=Call("other", "bob"))
    await registry.set_alias(ACME, "support", "prod", version=1)
    await view.refresh()
    event = await anext(watching)
    assert isinstance(event, Event)
    assert (event.kind, event.tenant, event.name) == ("alias.set", "acme", "prod")


async def test_a_watcher_resumes_from_its_cursor(
    registry: RecordingRegistry, view: RegistryView
) -> None:
    await publish(registry, "support")
    await view.refresh()
    cursor = view.cursor
    await registry.set_alias(ACME, "support", "prod", version=1)
    await registry.set_alias(ACME, "support", "beta", version=1)
    await view.refresh()
    watching = view.watch("acme", cursor)
    names = [event.name for _ in range(2) if isinstance(event := await anext(watching), Event)]
    assert names == ["prod", "beta"]


@pytest.mark.parametrize("cursor", ["1-0", "99999999999999-0"])
async def test_a_cursor_that_cannot_be_resumed_begins_with_a_snapshot(
    registry: RecordingRegistry, view: RegistryView, cursor: str
) -> None:
    await publish(registry, "support")
    await view.refresh()
    assert isinstance(await anext(view.watch("acme", cursor)), Snapshot)


async def test_a_watcher_is_told_when_the_server_was_emptied(
    registry: RecordingRegistry, view: RegistryView, redis_client: redis.asyncio.Redis
) -> None:
    await publish(registry, "support")
    await view.refresh()
    watching = view.watch("acme")
    await anext(watching)
    await redis_client.flushall()
    await view.refresh()
    await publish(registry, "other")
    await view.refresh()
    snapshot = await anext(watching)
    assert isinstance(snapshot, Snapshot)
    assert [adapter.name for adapter in snapshot.adapters] == ["other"]
