"""Two uploaded files become a version, or leave nothing behind."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import redis.asyncio

from weft.adapters import keys
from weft.adapters.admission import (
    Admission,
    Admitted,
    Candidate,
    Progress,
    PublishRequest,
    PublishStep,
)
from weft.adapters.blobs import Blobs
from weft.adapters.digest import digest_file
from weft.adapters.errors import AliasConflict, BlobNotFound, Refused, StoreFull, Violation
from weft.adapters.image import read_image
from weft.adapters.leases import Leases
from weft.adapters.publish import Publisher
from weft.adapters.records import AliasMove, Call, Published
from weft.adapters.registry import Registry
from weft.adapters.removal import Removal
from weft.adapters.sites import BaseFacts
from weft.adapters.tensor_checks import Limits

from .adapter_files import AdapterFiles, tiny_files
from .conftest import FullRedis
from .tiny_facts import tiny_facts

ACME = Call("acme", "alice")
LATEST = (AliasMove("latest"),)
LIMITS = Limits(max_rank=64, max_file_bytes=1 << 24, arena_bytes=1 << 24)


@dataclass
class TriedProbe:
    """The outer boundary: an engine that reads the image, and finds what it is told to."""

    facts: BaseFacts
    violations: tuple[Violation, ...] = ()
    largest_error: float = 1e-7
    logit_change: float = 0.5
    tried: int = 0

    async def __call__(self, candidate: Candidate) -> "TriedProbe":
        self.tried += 1
        assert read_image(candidate.image_path, self.facts).digest == candidate.digest
        assert candidate.config_path.exists()
        assert candidate.weights_path.exists()
        if self.violations:
            raise Refused(self.violations)
        return self


@dataclass
class Place:
    """Everything that a publication needs."""

    registry: Registry
    blobs: Blobs
    removal: Removal
    publisher: Publisher
    probe: TriedProbe
    scratch: Path

    async def upload(self, files: AdapterFiles, folder: Path) -> PublishRequest:
        config, weights = files.save(folder)
        return PublishRequest(
            "support",
            await self.blobs.put_file("acme", config),
            await self.blobs.put_file("acme", weights),
            LATEST,
        )

    async def publish(self, request: PublishRequest, *, call: Call = ACME) -> Published:
        *_, last = [item async for item in self.publisher.publish(call, request)]
        assert isinstance(last, Published)
        return last


@pytest.fixture(scope="module")
def facts(tiny_llama: Path) -> BaseFacts:
    return replace(tiny_facts(tiny_llama), quantisation="int8")


@pytest.fixture(scope="module")
def files(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> AdapterFiles:
    return tiny_files(tiny_llama, tmp_path_factory.mktemp("adapter"))


@pytest.fixture
async def place(
    mapped_redis: redis.asyncio.Redis, blobs: Blobs, facts: BaseFacts, tmp_path: Path
) -> AsyncIterator[Place]:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    registry = Registry(mapped_redis)
    await registry.open()
    removal = Removal(registry, blobs)
    probe = TriedProbe(facts)
    admission = Admission(
        blobs,
        Leases(mapped_redis),
        removal,
        facts=facts,
        limits=LIMITS,
        probe=probe,
        scratch=scratch,
    )
    publisher = Publisher(registry, blobs, removal, admission)
    yield Place(registry, blobs, removal, publisher, probe, scratch)
    assert list(scratch.iterdir()) == []
    assert await mapped_redis.keys(keys.LEASE_PREFIX + "*") == []


async def left(client: redis.asyncio.Redis, folder: Path) -> set[str]:
    """What is stored: keys but for counts, and files of the store."""
    found = {key.decode() async for key in client.scan_iter("*")}
    found -= {keys.SCHEMA, keys.EPOCH, keys.HOLDERS, keys.used("acme")}
    stored = (folder / "store").rglob("*")
    return found | {path.name for path in stored if path.is_file()}


async def test_a_publication_goes_through_its_steps(
    place: Place, files: AdapterFiles, tmp_path: Path
) -> None:
    request = await place.upload(files, tmp_path)
    items = [item async for item in place.publisher.publish(ACME, request)]
    steps = [(item.step, item.done) for item in items[:-1] if isinstance(item, Progress)]
    assert steps == [(step, done) for step in PublishStep for done in (False, True)]
    assert isinstance(items[-1], Published)
    assert items[-1].version.model == "support@1"


async def test_a_version_says_what_was_admitted(
    place: Place, files: AdapterFiles, facts: BaseFacts, tmp_path: Path
) -> None:
    request = await place.upload(files, tmp_path)
    content = (await place.publish(request)).version.content
    assert content.config_digest == digest_file(tmp_path / "adapter_config.json")
    assert content.weights_bytes == (tmp_path / "adapter_model.safetensors").stat().st_size
    assert (content.base, content.base_digest) == (facts.name, facts.digest)
    assert (content.evidence, content.dtype, content.max_rank) == ("name", "F32", 4)
    assert (content.probe.precision, content.probe.max_logit_change) == ("float32+int8", 0.5)
    manifest = await place.registry.catalogue.get_manifest(content.digest)
    assert [module.rank for module in manifest.modules] == [4] * 4
    await place.blobs.fetch(content.image_digest, tmp_path / "image")
    image = read_image(tmp_path / "image", facts)
    assert (image.digest, image.layout_id) == (content.digest, content.layout_id)
    assert content.image_bytes == image.data.nbytes


async def test_the_same_adapter_again_is_another_version_of_the_same_digest(
    place: Place, files: AdapterFiles, tmp_path: Path, redis_client: redis.asyncio.Redis
) -> None:
    request = await place.upload(files, tmp_path)
    first, second = await place.publish(request), await place.publish(request)
    assert second.version.number == 2
    assert second.version.digest == first.version.digest
    assert await redis_client.scard(keys.named_by(first.version.digest)) == 2


async def test_a_repeated_request_is_answered_at_once(
    place: Place, files: AdapterFiles, tmp_path: Path
) -> None:
    request = await place.upload(files, tmp_path)
    call = Call("acme", "alice", request_id="one")
    first = await place.publish(request, call=call)
    items = [item async for item in place.publisher.publish(call, request)]
    assert items == [first]
    assert place.probe.tried == 1


async def test_validation_publishes_nothing(
    place: Place, files: AdapterFiles, tmp_path: Path, redis_client: redis.asyncio.Redis
) -> None:
    request = await place.upload(files, tmp_path)
    before = await left(redis_client, tmp_path)
    items = [item async for item in place.publisher.publish(ACME, request, validate_only=True)]
    assert isinstance(items[-1], Admitted)
    assert place.probe.tried == 1
    assert await left(redis_client, tmp_path) == before


async def test_a_refused_adapter_leaves_nothing(
    place: Place, files: AdapterFiles, tmp_path: Path, redis_client: redis.asyncio.Redis
) -> None:
    request = await place.upload(files.configured(use_dora=True, r=5), tmp_path)
    with pytest.raises(Refused) as caught:
        await place.publish(request)
    assert {"FEATURE_UNSUPPORTED", "RANK_MISMATCH"} <= {v.code for v in caught.value.violations}
    assert place.probe.tried == 0
    assert await left(redis_client, tmp_path) == set()


async def test_an_adapter_that_the_probe_refuses_leaves_nothing(
    place: Place, files: AdapterFiles, tmp_path: Path, redis_client: redis.asyncio.Redis
) -> None:
    place.probe.violations = (Violation("NO_EFFECT", "", "the same logits", "a change"),)
    request = await place.upload(files, tmp_path)
    with pytest.raises(Refused, match="NO_EFFECT"):
        await place.publish(request)
    assert await left(redis_client, tmp_path) == set()


async def test_a_refused_adapter_keeps_the_file_that_a_version_needs(
    place: Place, files: AdapterFiles, tmp_path: Path
) -> None:
    await place.publish(await place.upload(files, tmp_path))
    broken = files.with_tensors(dict.fromkeys(list(files.tensors)[:1]))
    request = await place.upload(broken, tmp_path)
    with pytest.raises(Refused, match="TENSOR_PAIR"):
        await place.publish(request)
    assert await place.blobs.read_bytes(request.config_digest)
    with pytest.raises(BlobNotFound):
        await place.blobs.size(request.weights_digest)


async def test_an_alias_conflict_leaves_no_image(
    place: Place, files: AdapterFiles, tmp_path: Path, redis_client: redis.asyncio.Redis
) -> None:
    request = await place.upload(files, tmp_path)
    before = await left(redis_client, tmp_path)
    moved = (AliasMove("prod", 3),)
    conflicting = PublishRequest("support", request.config_digest, request.weights_digest, moved)
    with pytest.raises(AliasConflict):
        await place.publish(conflicting)
    assert await left(redis_client, tmp_path) == before


async def test_another_tenants_files_are_not_found(
    place: Place, files: AdapterFiles, tmp_path: Path
) -> None:
    request = await place.upload(files, tmp_path)
    with pytest.raises(BlobNotFound):
        await place.publish(request, call=Call("other", "bob"))


async def test_of_two_publishers_of_one_alias_one_wins_whole(
    place: Place, files: AdapterFiles, tmp_path: Path
) -> None:
    first = await place.upload(files, tmp_path / "a")
    doubled = {key: 2 * tensor for key, tensor in files.tensors.items()}
    second = await place.upload(files.with_tensors(doubled), tmp_path / "b")
    moved = (AliasMove("prod", 0),)
    race = [
        place.publish(PublishRequest("support", r.config_digest, r.weights_digest, moved))
        for r in (first, second)
    ]
    results = await asyncio.gather(*race, return_exceptions=True)
    (won,) = [result for result in results if isinstance(result, Published)]
    assert [type(result) for result in results if result is not won] == [AliasConflict]
    alias = await place.registry.catalogue.get_alias("acme", "support", "prod")
    assert (alias.version, alias.generation) == (won.version.number, 1)
    assert len(await place.registry.catalogue.list_versions("acme", "support")) == 1


async def test_a_full_redis_publishes_nothing(
    place: Place,
    files: AdapterFiles,
    tmp_path: Path,
    full_redis: FullRedis,
    redis_client: redis.asyncio.Redis,
) -> None:
    request = await place.upload(files, tmp_path)
    publishing = place.publisher.publish(ACME, request)
    before = await left(redis_client, tmp_path)
    async for item in publishing:
        if isinstance(item, Progress) and item.step is PublishStep.PUBLISH:
            break
    async with full_redis:
        with pytest.raises(StoreFull):
            await anext(publishing)
    assert await left(redis_client, tmp_path) == before
    assert (await place.publish(request)).version.number == 1


async def test_a_deleted_version_takes_its_files_with_it(
    place: Place, files: AdapterFiles, tmp_path: Path, redis_client: redis.asyncio.Redis
) -> None:
    request = await place.upload(files, tmp_path)
    version = (await place.publish(request)).version
    await place.registry.delete_alias(ACME, "support", "latest")
    await place.registry.retire_version(ACME, "support", 1)
    await place.removal.delete_version(ACME, "support", 1)
    await place.registry.delete_adapter(ACME, "support")
    for digest in (request.config_digest, request.weights_digest, version.content.image_digest):
        with pytest.raises(BlobNotFound):
            await place.blobs.size(digest)
    kept = {name for name in await left(redis_client, tmp_path) if ":req:" not in name}
    tombstone = keys.adapter("acme", "support")
    aliases = keys.audit("acme", "support")
    assert kept == {tombstone, aliases, keys.EVENTS}


async def test_the_sweep_removes_an_image_that_a_crash_left(
    place: Place, files: AdapterFiles, tmp_path: Path, redis_client: redis.asyncio.Redis
) -> None:
    request = await place.upload(files, tmp_path)
    before = await left(redis_client, tmp_path)
    async for item in place.publisher.publish(ACME, request, validate_only=True):
        if isinstance(item, Admitted):
            await place.publisher.store_image(item)
            await redis_client.zadd(keys.MANIFESTS, {item.content.digest: 1})
    await place.removal.sweep()
    assert await left(redis_client, tmp_path) == before
