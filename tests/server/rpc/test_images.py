"""The disk cache of images, on a real registry and store; the engine's probe lets all pass."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import redis.asyncio

from tests.adapters.tiny_facts import tiny_facts
from tests.tiny import save_tiny_adapter
from weft.adapters.admission import Admission, Candidate, PublishRequest
from weft.adapters.digest import digest_file
from weft.adapters.errors import BlobNotFound, ContentCorrupt, ModelNotFound
from weft.adapters.image import read_image
from weft.adapters.publish import Publisher
from weft.adapters.records import AliasMove, Call, Published
from weft.adapters.sites import BaseFacts
from weft.adapters.tensor_checks import Limits
from weft.server.config import RegistryConfig
from weft.server.rpc.images import ImageCache, is_whole
from weft.server.stores import Stores, open_stores

LIMITS = Limits(max_rank=64, max_file_bytes=1 << 24, arena_bytes=1 << 24)
UNKNOWN = "sha256:" + "0" * 64


@dataclass
class TriedProbe:
    """The engine, which lets everything pass and remembers it."""

    tried: list[str] = field(default_factory=list)
    largest_error: float = 0.0
    logit_change: float = 1.0

    async def __call__(self, candidate: Candidate) -> "TriedProbe":
        self.tried.append(candidate.digest)
        return self


@dataclass
class Place:
    """A server's stores, with what it takes to publish and to fetch."""

    stores: Stores
    facts: BaseFacts
    folder: Path
    probe: TriedProbe = field(default_factory=TriedProbe)

    async def publish(self, adapter: Path, name: str = "support") -> str:
        """Publish an adapter; answer its digest."""
        stores = self.stores
        admission = Admission(
            stores.blobs,
            stores.leases,
            stores.removal,
            facts=self.facts,
            limits=LIMITS,
            probe=TriedProbe(),
            scratch=self.folder,
        )
        publisher = Publisher(stores.registry, stores.blobs, stores.removal, admission)
        request = PublishRequest(
            name,
            await stores.blobs.put_file("acme", adapter / "adapter_config.json"),
            await stores.blobs.put_file("acme", adapter / "adapter_model.safetensors"),
            (AliasMove("latest"),),
            assert_base=True,
        )
        *_, last = [step async for step in publisher.publish(Call("acme", "alice"), request)]
        assert isinstance(last, Published)
        await stores.view.refresh()
        return last.version.digest

    def cache(self, *, facts: BaseFacts | None = None, max_bytes: int = 1 << 30) -> ImageCache:
        """A cache as it is after a start."""
        return ImageCache(
            self.folder,
            facts=facts or self.facts,
            limits=LIMITS,
            view=self.stores.view,
            catalogue=self.stores.registry.catalogue,
            blobs=self.stores.blobs,
            leases=self.stores.leases,
            probe=self.probe,
            max_bytes=max_bytes,
        )

    def images(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file() and len(path.name) == 64]


@pytest.fixture
async def place(
    redis_client: redis.asyncio.Redis, redis_url: str, tiny_llama: Path, tmp_path: Path
) -> AsyncIterator[Place]:
    folder = tmp_path / "cache"
    folder.mkdir()
    async with open_stores(RegistryConfig(redis_url, f"file:{tmp_path / 'store'}")) as stores:
        yield Place(stores, tiny_facts(tiny_llama), folder)


async def test_an_image_is_brought_once(place: Place, folders: list[Path]) -> None:
    digest = await place.publish(folders[0])
    cache = place.cache()
    paths = await asyncio.gather(*(cache.bring(digest) for _ in range(4)))
    [path] = set(paths)
    assert read_image(path, place.facts).digest == digest
    assert cache.sizes() == {digest: path.stat().st_size}
    content = place.stores.view.find_content(digest)
    assert content is not None
    assert digest_file(path) == content.image_digest
    await place.stores.blobs.discard(content.image_digest, unless_asked_since_ms=0)
    assert await cache.bring(digest) == path
    assert place.images() == [path]


async def test_a_digest_that_nothing_names_is_not_found(place: Place) -> None:
    with pytest.raises(ModelNotFound, match=UNKNOWN):
        await place.cache().bring(UNKNOWN)
    assert place.images() == []


async def test_a_file_of_an_earlier_start_is_hashed_before_its_first_use(
    place: Place, folders: list[Path]
) -> None:
    digest = await place.publish(folders[0])
    path = await place.cache().bring(digest)
    whole = path.read_bytes()
    path.unlink()  # it may share its bytes with the store
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert (await place.cache().bring(digest)).read_bytes() == whole


@pytest.mark.parametrize(("dtype", "quantisation"), [("float16", None), ("float32", "int8")])
async def test_an_image_of_another_precision_is_packed_from_the_files_and_probed(
    dtype: str, quantisation: str | None, place: Place, folders: list[Path]
) -> None:
    digest = await place.publish(folders[0])
    own = await place.cache().bring(digest)
    other = replace(place.facts, dtype=dtype, quantisation=quantisation)
    path = await place.cache(facts=other).bring(digest)
    assert read_image(path, other).digest == read_image(own, place.facts).digest == digest
    assert place.probe.tried == [digest]


async def test_files_of_another_digest_are_corrupt(place: Place, folders: list[Path]) -> None:
    digest = await place.publish(folders[0])
    other = replace(place.facts, dtype="float16", digest="sha256:" + "1" * 64)
    with pytest.raises(ContentCorrupt, match=digest):
        await place.cache(facts=other).bring(digest)
    assert place.images() == []


async def test_bytes_that_are_gone_are_said_to_be(place: Place, folders: list[Path]) -> None:
    digest = await place.publish(folders[0])
    await place.stores.redis.flushall()
    with pytest.raises(BlobNotFound):
        await place.cache().bring(digest)
    assert place.images() == []


async def test_the_least_recently_used_images_go_first(
    place: Place, tiny_llama: Path, tmp_path: Path
) -> None:
    digests = [
        await place.publish(
            save_tiny_adapter(tiny_llama, tmp_path / f"{seed}", seed=seed), f"a{seed}"
        )
        for seed in range(3)
    ]
    roomy = place.cache()
    paths = {await roomy.bring(digest): digest for digest in digests[:2]}
    used, unused = sorted(paths)
    for path in paths:
        os.utime(path, (1, 1))
    await roomy.bring(paths[used])
    size = used.stat().st_size
    with unused.open("rb") as opened:
        third = await place.cache(max_bytes=2 * size).bring(digests[2])
        assert sorted(place.images()) == sorted([used, third])
        assert len(opened.read()) == size
    tiny = place.cache(max_bytes=1)
    assert await tiny.bring(paths[used]) == used
    assert place.images() == [used]


def test_without_a_known_digest_a_file_is_not_trusted(tmp_path: Path) -> None:
    path = tmp_path / "image"
    assert not is_whole(path, "sha256:x")
    path.write_bytes(b"x")
    assert not is_whole(path, None)
    assert not is_whole(path, "sha256:x")
    assert is_whole(path, digest_file(path))
