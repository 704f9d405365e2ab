"""Reads of the registry: what a tenant has, straight from Redis."""

from collections.abc import Mapping

import msgspec
import redis.asyncio

from . import codec, keys
from .errors import AdapterNotFound, AliasNotFound, BlobNotFound, VersionNotFound
from .records import Adapter, Alias, AuditEntry, Manifest, Version

PAGE = 100


class Catalogue:
    """What tenants have published. Everything of another tenant is not found."""

    def __init__(self, redis: redis.asyncio.Redis) -> None:
        self._redis = redis

    async def get_adapter(self, tenant: str, name: str) -> Adapter:
        """
        Raises:
            AdapterNotFound: There is none of that name.
        """
        (adapter,) = await self._read_adapters(tenant, [name])
        if adapter is None:
            raise AdapterNotFound(f"no adapter {name}")
        return adapter

    async def list_adapters(
        self,
        tenant: str,
        *,
        after: str = "",
        limit: int = PAGE,
        labels: Mapping[str, str] | None = None,
    ) -> list[Adapter]:
        """List adapters by name, from the first one after `after`, that have all of `labels`."""
        wanted = (labels or {}).items()
        found: list[Adapter] = []
        names = await self._names(tenant, after)
        while names and len(found) < limit:
            page = await self._read_adapters(tenant, names)
            found += [a for a in page if a is not None and wanted <= a.labels.items()]
            names = await self._names(tenant, names[-1])
        return found[:limit]

    async def get_version(self, tenant: str, adapter: str, number: int) -> Version:
        """
        Raises:
            VersionNotFound: The adapter, or its version, does not exist.
        """
        text = await self._redis.hget(keys.versions(tenant, adapter), str(number))
        if text is None:
            raise VersionNotFound(f"{adapter} has no version {number}")
        assert isinstance(text, bytes)
        return codec.decode_version(tenant, adapter, number, text)

    async def list_versions(
        self, tenant: str, adapter: str, *, before: int | None = None, limit: int = PAGE
    ) -> list[Version]:
        """List versions, the newest first, from the first one below `before`.

        Raises:
            AdapterNotFound: There is no such adapter.
        """
        stored = codec.raw_fields(await self._redis.hgetall(keys.versions(tenant, adapter)))
        if not stored:
            await self.get_adapter(tenant, adapter)
        numbers = sorted((int(number) for number in stored), reverse=True)
        return [
            codec.decode_version(tenant, adapter, number, stored[str(number).encode()])
            for number in numbers
            if before is None or number < before
        ][:limit]

    async def list_aliases(self, tenant: str, adapter: str) -> tuple[Alias, ...]:
        """
        Raises:
            AdapterNotFound: There is no such adapter.
        """
        return (await self.get_adapter(tenant, adapter)).aliases

    async def get_alias(self, tenant: str, adapter: str, name: str) -> Alias:
        """
        Raises:
            AliasNotFound: The adapter, or its alias, does not exist.
        """
        text = await self._redis.hget(keys.aliases(tenant, adapter), name)
        alias = codec.decode_alias(name, text) if isinstance(text, bytes) else None
        if alias is None or alias.version is None:
            raise AliasNotFound(f"{adapter} has no alias {name}")
        return alias

    async def list_audit(
        self, tenant: str, adapter: str, *, before: str = "", limit: int = PAGE
    ) -> list[AuditEntry]:
        """List who changed what, the newest first, from the first entry older than `before`."""
        newest = f"({before}" if before else "+"
        stream = keys.audit(tenant, adapter)
        reply = await self._redis.xrevrange(stream, max=newest, min="-", count=limit)
        return [codec.decode_audit(*entry) for entry in codec.raw_entries(reply)]

    async def get_manifest(self, digest: str) -> Manifest:
        """
        Raises:
            BlobNotFound: No such adapter digest is recorded.
        """
        text = await self._redis.get(keys.manifest(digest))
        if text is None:
            raise BlobNotFound(f"no manifest of {digest}")
        return msgspec.json.decode(text, type=Manifest)

    async def find_image(self, digest: str, layout_id: str) -> str | None:
        """Find the blob that is this adapter's image in a layout."""
        image = await self._redis.hget(keys.images(digest), layout_id)
        return image.decode() if isinstance(image, bytes) else None

    async def read_tenants(self) -> dict[str, tuple[list[Adapter], list[Version]]]:
        """Read every adapter and version of every tenant, for a follower's snapshot."""
        named = codec.raw_strings(await self._redis.smembers(keys.NAMESPACES))
        tenants = sorted(name.decode() for name in named)
        return {tenant: await self._read_tenant(tenant) for tenant in tenants}

    async def _read_tenant(self, tenant: str) -> tuple[list[Adapter], list[Version]]:
        adapters: list[Adapter] = []
        versions: list[Version] = []
        names = await self._names(tenant, "")
        while names:
            adapters += [a for a in await self._read_adapters(tenant, names) if a is not None]
            versions += await self._read_versions(tenant, names)
            names = await self._names(tenant, names[-1])
        return adapters, versions

    async def _names(self, tenant: str, after: str) -> list[str]:
        first = f"({after}" if after else "-"
        names = await self._redis.zrangebylex(keys.adapters(tenant), first, "+", start=0, num=PAGE)
        return [name.decode() for name in codec.raw_strings(names)]

    async def _read_adapters(self, tenant: str, names: list[str]) -> list[Adapter | None]:
        pipeline = self._redis.pipeline(transaction=False)  # a full server refuses MULTI
        for name in names:
            pipeline.hgetall(keys.adapter(tenant, name))
            pipeline.hlen(keys.versions(tenant, name))
            pipeline.hgetall(keys.aliases(tenant, name))
        replies = await pipeline.execute()
        return [
            codec.decode_adapter(
                tenant,
                name,
                fields,
                num_versions=num_versions,
                aliases=codec.decode_aliases(aliases),
            )
            if b"etag" in fields
            else None
            for name, fields, num_versions, aliases in zip(
                names, replies[0::3], replies[1::3], replies[2::3], strict=True
            )
        ]

    async def _read_versions(self, tenant: str, names: list[str]) -> list[Version]:
        pipeline = self._redis.pipeline(transaction=False)
        for name in names:
            pipeline.hgetall(keys.versions(tenant, name))
        replies = await pipeline.execute()
        return [
            codec.decode_version(tenant, name, int(number), text)
            for name, stored in zip(names, replies, strict=True)
            for number, text in stored.items()
        ]
