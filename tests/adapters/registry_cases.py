"""Versions to publish: their bytes are only recorded, never stored."""

from collections.abc import Mapping

from weft.adapters import keys
from weft.adapters.digest import digest_bytes
from weft.adapters.records import (
    AliasMove,
    Call,
    Manifest,
    ManifestModule,
    ProbeReport,
    Publication,
    Published,
    VersionContent,
)
from weft.adapters.registry import Registry, fingerprint_of


def content(seed: int = 1, *, labels: Mapping[str, str] | None = None) -> VersionContent:
    """Make up a version; another seed is another adapter."""
    config, weights, image, adapter = (
        digest_bytes(f"{part} {seed}".encode()) for part in ("config", "weights", "image", "it")
    )
    return VersionContent(
        digest=adapter,
        config_digest=config,
        config_bytes=10,
        weights_digest=weights,
        weights_bytes=1000,
        image_digest=image,
        image_bytes=900,
        layout_id="weft-image/1:float32:1:00",
        base="tiny",
        base_digest=digest_bytes(b"base"),
        evidence="asserted",
        dtype="F32",
        max_rank=4,
        probe=ProbeReport("float32", 0.5, 1e-7),
        publisher="alice",
        labels=labels or {},
    )


class RecordingRegistry(Registry):
    """A registry that can say that content is in the store."""

    async def record_content(self, made: VersionContent) -> None:
        """Record blobs and manifest as an upload and admission would."""
        for digest in (made.config_digest, made.weights_digest, made.image_digest):
            await self._redis.hset(keys.blob(digest), mapping={"sid": digest[-8:]})
        modules = (ManifestModule("model.layers.0.self_attn.q_proj", 4, 2.0),)
        await self.record_adapter(
            made.digest,
            Manifest(made.base_digest, made.dtype, modules),
            layout_id=made.layout_id,
            image_digest=made.image_digest,
        )


async def publish(
    registry: RecordingRegistry,
    adapter: str,
    *,
    seed: int = 1,
    call: Call | None = None,
    aliases: tuple[AliasMove, ...] = (AliasMove("latest"),),
    labels: Mapping[str, str] | None = None,
    record: bool = True,
    fingerprint: str | None = None,
) -> Published:
    """Publish version content `seed` for acme."""
    made = content(seed, labels=labels)
    if record:
        await registry.record_content(made)
    return await registry.publish(
        call or Call("acme", "alice"),
        Publication(adapter, made, aliases),
        fingerprint=fingerprint or fingerprint_of({"adapter": adapter, "seed": seed}),
    )
