"""Names, versions and aliases on a real Redis."""

import asyncio

import pytest
import redis.asyncio

from weft.adapters import keys
from weft.adapters.errors import (
    AdapterNotFound,
    AliasConflict,
    AliasNotFound,
    BlobNotFound,
    EtagMismatch,
    QuotaExceeded,
    RegistryUnavailable,
    RequestConflict,
    StoreFull,
    VersionAliased,
    VersionInUse,
    VersionNotFound,
    VersionRetired,
)
from weft.adapters.records import AliasMove, Call, Published, VersionState

from .conftest import FullRedis
from .registry_cases import RecordingRegistry, content, publish

ACME = Call("acme", "alice")
LATEST = (AliasMove("latest"),)


@pytest.fixture
async def registry(redis_client: redis.asyncio.Redis) -> RecordingRegistry:
    registry = RecordingRegistry(redis_client)
    await registry.open()
    return registry


async def test_versions_count_from_one_and_latest_follows(registry: RecordingRegistry) -> None:
    first = await publish(registry, "support")
    second = await publish(registry, "support", seed=2)
    assert (first.version.number, second.version.number) == (1, 2)
    latest = await registry.catalogue.get_alias("acme", "support", "latest")
    assert (latest.version, latest.generation, latest.previous) == (2, 2, 1)
    adapter = await registry.catalogue.get_adapter("acme", "support")
    assert (adapter.num_versions, adapter.etag, adapter.aliases) == (2, "1", (latest,))


async def test_what_was_published_is_read_back_whole(registry: RecordingRegistry) -> None:
    published = await publish(registry, "support", labels={"team": "a"})
    read = await registry.catalogue.get_version("acme", "support", 1)
    assert read == published.version
    assert read.content == content(labels={"team": "a"})
    assert read.state is VersionState.PUBLISHED
    assert read.created_ms > 1_700_000_000_000


async def test_publish_without_bytes_or_manifest_changes_nothing(
    registry: RecordingRegistry, redis_client: redis.asyncio.Redis
) -> None:
    await registry.record_content(content())
    for key in (keys.blob(content().config_digest), keys.manifest(content().digest)):
        kept = await redis_client.dump(key)
        assert kept is not None
        await redis_client.delete(key)
        with pytest.raises(BlobNotFound):
            await publish(registry, "support", record=False)
        await redis_client.restore(key, 0, kept)
    assert await redis_client.exists(keys.EVENTS, keys.adapters("acme")) == 0
    assert (await publish(registry, "support", record=False)).version.number == 1


async def test_a_repeated_request_gets_the_first_answer(registry: RecordingRegistry) -> None:
    call = Call("acme", "alice", request_id="one")
    first = await publish(registry, "support", call=call)
    again = await publish(registry, "support", call=call)
    assert again == first
    assert len(await registry.catalogue.list_versions("acme", "support")) == 1
    with pytest.raises(RequestConflict):
        await publish(registry, "other", call=call)


async def test_an_answer_is_found_by_its_request_id(registry: RecordingRegistry) -> None:
    call = Call("acme", "alice", request_id="one")
    assert await registry.find_published(call, "support", fingerprint="f") is None
    first = await publish(registry, "support", call=call, fingerprint="f")
    assert await registry.find_published(call, "support", fingerprint="f") == first
    with pytest.raises(RequestConflict):
        await registry.find_published(call, "support", fingerprint="g")


async def test_of_two_publishers_one_moves_the_alias(registry: RecordingRegistry) -> None:
    await publish(registry, "support", aliases=(AliasMove("prod", 0),))
    race = [
        publish(registry, "support", seed=seed, aliases=(AliasMove("prod", 1),)) for seed in (2, 3)
    ]
    results = await asyncio.gather(*race, return_exceptions=True)
    won = [result for result in results if isinstance(result, Published)]
    lost = [result for result in results if isinstance(result, AliasConflict)]
    assert (len(won), len(lost)) == (1, 1)
    assert lost[0].metadata == {"alias": "prod", "generation": "2", "version": "2"}
    versions = await registry.catalogue.list_versions("acme", "support")
    assert [version.number for version in versions] == [2, 1]


async def test_an_alias_moves_from_the_expected_generation(
    registry: RecordingRegistry,
) -> None:
    for seed in (1, 2):
        await publish(registry, "support", seed=seed)
    moved = await registry.set_alias(ACME, "support", "prod", version=1, expected_generation=0)
    assert (moved.alias.version, moved.alias.generation) == (1, 1)
    with pytest.raises(AliasConflict, match="generation 1, not 0"):
        await registry.set_alias(ACME, "support", "prod", version=2, expected_generation=0)
    moved = await registry.set_alias(ACME, "support", "prod", version=2, expected_generation=1)
    assert (moved.alias.version, moved.alias.generation, moved.alias.previous) == (2, 2, 1)
    with pytest.raises(VersionNotFound):
        await registry.set_alias(ACME, "support", "prod", version=9)


async def test_a_second_rollback_returns(registry: RecordingRegistry) -> None:
    for seed in (1, 2):
        await publish(registry, "support", seed=seed)
    first = await registry.rollback_alias(ACME, "support", "latest")
    second = await registry.rollback_alias(ACME, "support", "latest", expected_generation=3)
    assert (first.alias.version, second.alias.version) == (1, 2)
    assert second.alias.generation == 4
    await registry.set_alias(ACME, "support", "new", version=1)
    with pytest.raises(AliasNotFound, match="never pointed elsewhere"):
        await registry.rollback_alias(ACME, "support", "new")


async def test_rollback_to_a_retired_version_is_refused(registry: RecordingRegistry) -> None:
    for seed in (1, 2):
        await publish(registry, "support", seed=seed)
    await registry.retire_version(ACME, "support", 1)
    with pytest.raises(VersionRetired):
        await registry.rollback_alias(ACME, "support", "latest")


async def test_a_deleted_alias_keeps_its_generation(registry: RecordingRegistry) -> None:
    await publish(registry, "support")
    with pytest.raises(AliasConflict):
        await registry.delete_alias(ACME, "support", "latest", expected_generation=7)
    deleted = await registry.delete_alias(ACME, "support", "latest", expected_generation=1)
    assert (deleted.alias.version, deleted.alias.generation) == (None, 2)
    assert await registry.catalogue.list_aliases("acme", "support") == ()
    with pytest.raises(AliasNotFound):
        await registry.delete_alias(ACME, "support", "latest")
    again = await registry.set_alias(ACME, "support", "latest", version=1, expected_generation=0)
    assert again.alias.generation == 3


async def test_a_version_is_retired_restored_and_deleted(registry: RecordingRegistry) -> None:
    await publish(registry, "support", aliases=())
    with pytest.raises(VersionInUse):
        await registry.restore_version(ACME, "support", 1)
    with pytest.raises(VersionInUse):
        await registry.delete_version(ACME, "support", 1)
    retired = await registry.retire_version(ACME, "support", 1)
    assert retired.version.state is VersionState.RETIRED
    with pytest.raises(VersionRetired, match="already"):
        await registry.retire_version(ACME, "support", 1)
    with pytest.raises(VersionRetired):
        await registry.set_alias(ACME, "support", "prod", version=1)
    await registry.restore_version(ACME, "support", 1)
    await registry.retire_version(ACME, "support", 1)
    await registry.delete_version(ACME, "support", 1)
    with pytest.raises(VersionNotFound):
        await registry.catalogue.get_version("acme", "support", 1)
    with pytest.raises(VersionNotFound):
        await registry.retire_version(ACME, "support", 1)


async def test_an_aliased_version_is_not_retired(registry: RecordingRegistry) -> None:
    await publish(registry, "support")
    with pytest.raises(VersionAliased, match="latest"):
        await registry.retire_version(ACME, "support", 1)


async def test_a_deleted_version_is_named_by_nothing(
    registry: RecordingRegistry, redis_client: redis.asyncio.Redis
) -> None:
    await publish(registry, "support", aliases=())
    await registry.retire_version(ACME, "support", 1)
    await registry.delete_version(ACME, "support", 1)
    left = [
        keys.named_by(content().digest),
        keys.refs(content().config_digest),
        keys.refs(content().weights_digest),
        keys.versions("acme", "support"),
    ]
    assert await redis_client.exists(*left) == 0
    assert await redis_client.hget(keys.used("acme"), "versions") == b"0"


async def test_an_adapter_is_deleted_when_its_versions_are(registry: RecordingRegistry) -> None:
    await publish(registry, "support", aliases=())
    with pytest.raises(VersionInUse):
        await registry.delete_adapter(ACME, "support")
    await registry.retire_version(ACME, "support", 1)
    await registry.delete_version(ACME, "support", 1)
    with pytest.raises(EtagMismatch):
        await registry.delete_adapter(ACME, "support", etag="5")
    await registry.delete_adapter(ACME, "support", etag="1")
    with pytest.raises(AdapterNotFound):
        await registry.catalogue.get_adapter("acme", "support")
    with pytest.raises(AdapterNotFound):
        await registry.delete_adapter(ACME, "support")
    assert (await publish(registry, "support", seed=2)).version.number == 2


async def test_labels_change_with_the_etag(registry: RecordingRegistry) -> None:
    await publish(registry, "support")
    changed = await registry.update_labels(ACME, "support", {"team": "a"}, etag="1")
    assert (changed.adapter.labels, changed.adapter.etag) == ({"team": "a"}, "2")
    with pytest.raises(EtagMismatch):
        await registry.update_labels(ACME, "support", {}, etag="1")
    with pytest.raises(AdapterNotFound):
        await registry.update_labels(ACME, "other", {})


async def test_every_change_is_idempotent_by_request_id(registry: RecordingRegistry) -> None:
    for seed in (1, 2):
        await publish(registry, "support", seed=seed)
    call = Call("acme", "alice", request_id="move")
    first = await registry.rollback_alias(call, "support", "latest")
    assert await registry.rollback_alias(call, "support", "latest") == first
    call = Call("acme", "alice", request_id="retire")
    retired = await registry.retire_version(call, "support", 2)
    assert await registry.retire_version(call, "support", 2) == retired


async def test_tenants_see_nothing_of_each_other(registry: RecordingRegistry) -> None:
    await publish(registry, "support")
    other = Call("other", "bob")
    assert await registry.catalogue.list_adapters("other") == []
    with pytest.raises(AdapterNotFound):
        await registry.catalogue.get_adapter("other", "support")
    with pytest.raises(VersionNotFound):
        await registry.set_alias(other, "support", "prod", version=1)
    with pytest.raises(VersionNotFound):
        await registry.retire_version(other, "support", 1)
    assert await registry.catalogue.list_audit("other", "support") == []


async def test_quotas_refuse_before_anything_changes(
    registry: RecordingRegistry, redis_client: redis.asyncio.Redis
) -> None:
    await redis_client.hset(keys.TENANTS, "acme", '{"adapters": 1, "versions": 2}')
    await publish(registry, "support")
    with pytest.raises(QuotaExceeded, match="adapters: 1 and 1 more exceed the limit of 1"):
        await publish(registry, "other", seed=2)
    await publish(registry, "support", seed=2)
    with pytest.raises(QuotaExceeded, match="versions"):
        await publish(registry, "support", seed=3)
    names = [adapter.name for adapter in await registry.catalogue.list_adapters("acme")]
    assert names == ["support"]


async def test_adapters_are_paged_and_filtered_by_label(
    registry: RecordingRegistry,
) -> None:
    for name in ("c", "a", "b"):
        await publish(registry, name)
    await registry.update_labels(ACME, "b", {"team": "x", "stage": "y"})
    catalogue = registry.catalogue
    assert [a.name for a in await catalogue.list_adapters("acme", limit=2)] == ["a", "b"]
    assert [a.name for a in await catalogue.list_adapters("acme", after="b")] == ["c"]
    found = await catalogue.list_adapters("acme", labels={"team": "x"})
    assert [a.name for a in found] == ["b"]


async def test_versions_are_paged_from_the_newest(registry: RecordingRegistry) -> None:
    for seed in (1, 2, 3):
        await publish(registry, "support", seed=seed)
    page = await registry.catalogue.list_versions("acme", "support", before=3, limit=1)
    assert [version.number for version in page] == [2]
    with pytest.raises(AdapterNotFound):
        await registry.catalogue.list_versions("acme", "other")


async def test_the_audit_says_who_moved_what(registry: RecordingRegistry) -> None:
    await publish(registry, "support")
    call = Call("acme", "carol", reason="incident 12")
    await registry.set_alias(call, "support", "prod", version=1, expected_generation=0)
    entries = await registry.catalogue.list_audit("acme", "support")
    moved, latest, published = entries
    assert (moved.by, moved.reason, moved.alias) == ("carol", "incident 12", "prod")
    assert (moved.from_version, moved.to_version, moved.forced) == (None, 1, False)
    assert (latest.what, latest.forced) == ("alias.set", True)
    assert (published.what, published.to_version) == ("version.published", 1)
    older = await registry.catalogue.list_audit("acme", "support", before=latest.entry_id)
    assert older == [published]


async def test_a_record_keeps_the_fields_of_a_newer_server(
    registry: RecordingRegistry, redis_client: redis.asyncio.Redis
) -> None:
    await publish(registry, "support", aliases=())
    key = keys.versions("acme", "support")
    text = await redis_client.hget(key, "1")
    assert isinstance(text, bytes)
    newer = text[:-1] + b',"colour":[],"weight":1.5}'
    await redis_client.hset(key, "1", newer)
    await registry.retire_version(ACME, "support", 1)
    stored = await redis_client.hget(key, "1")
    assert stored == newer.replace(b'"PUBLISHED"', b'"RETIRED"')


async def test_another_schema_or_an_evicting_server_is_refused(
    registry: RecordingRegistry, redis_client: redis.asyncio.Redis
) -> None:
    await redis_client.set(keys.SCHEMA, "2")
    with pytest.raises(RegistryUnavailable, match="schema"):
        await registry.open()
    await redis_client.set(keys.SCHEMA, "1")
    await redis_client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(RegistryUnavailable, match="allkeys-lru"):
            await registry.open()
    finally:
        await redis_client.config_set("maxmemory-policy", "noeviction")


async def test_the_epoch_stays_until_the_server_is_emptied(
    registry: RecordingRegistry, redis_client: redis.asyncio.Redis
) -> None:
    epoch = await registry.open()
    assert await registry.open() == epoch
    await redis_client.flushall()
    assert await registry.open() != epoch


async def test_a_full_redis_refuses_growth_and_still_takes_away(
    mapped_redis: redis.asyncio.Redis, full_redis: FullRedis
) -> None:
    registry = RecordingRegistry(mapped_redis)
    await publish(registry, "support")
    await registry.record_content(content(2))
    before = await registry.catalogue.get_adapter("acme", "support")
    async with full_redis:
        with pytest.raises(StoreFull):
            await publish(registry, "support", seed=2, record=False)
        with pytest.raises(StoreFull):
            await registry.set_alias(ACME, "support", "prod", version=1)
        assert await registry.catalogue.get_adapter("acme", "support") == before
        await registry.delete_alias(ACME, "support", "latest")
        await registry.retire_version(ACME, "support", 1)
        await registry.delete_version(ACME, "support", 1)
        await registry.delete_adapter(ACME, "support")
    assert await registry.catalogue.list_adapters("acme") == []


async def test_an_adapter_digest_is_forgotten_when_nothing_names_it(
    registry: RecordingRegistry, redis_client: redis.asyncio.Redis
) -> None:
    await publish(registry, "support", aliases=())
    made = content()
    assert await registry.forget_adapter(made.digest) == ()
    await registry.retire_version(ACME, "support", 1)
    await registry.delete_version(ACME, "support", 1)
    await redis_client.sadd(keys.HOLDERS, "server")
    await redis_client.hset(keys.lease("server"), made.digest, "fetch")
    assert await registry.forget_adapter(made.digest) == ()
    await redis_client.delete(keys.lease("server"))
    assert await registry.forget_adapter(made.digest) == (made.image_digest,)
    with pytest.raises(BlobNotFound):
        await registry.catalogue.get_manifest(made.digest)
    assert await registry.catalogue.find_image(made.digest, made.layout_id) is None
    assert await redis_client.exists(keys.refs(made.image_digest)) == 0
