"""Removal of what nothing names any more: versions with their files, images, expired uploads."""

from collections.abc import Sequence

from .blobs import UNUSED_LIFE_MS, Blobs, Swept
from .records import Call, VersionChanged, VersionContent
from .registry import Registry


class Removal:
    """Removes stored bytes when the last name for them has gone; what is leased stays."""

    def __init__(self, registry: Registry, blobs: Blobs) -> None:
        self._registry = registry
        self._blobs = blobs

    async def delete_version(self, call: Call, adapter: str, number: int) -> VersionChanged:
        """Delete a retired version, and its files and image if nothing else needs them.

        Raises:
            VersionNotFound: There is no such version.
            VersionInUse: It is not retired.
        """
        asked_ms = await self._blobs.now_ms()
        deleted = await self._registry.delete_version(call, adapter, number)
        content = deleted.version.content
        await self.remove_image(content)
        files = [content.config_digest, content.weights_digest]
        await self.remove_blobs(files, unless_asked_since_ms=asked_ms)
        return deleted

    async def remove_image(self, content: VersionContent) -> None:
        """Remove manifest and images of an adapter digest, unless a version names it."""
        await self._remove_adapter(content.digest)

    async def remove_blobs(self, digests: Sequence[str], *, unless_asked_since_ms: int) -> None:
        """Remove blobs, unless something refers to them or somebody asked for them since."""
        for digest in digests:
            await self._blobs.discard(digest, unless_asked_since_ms=unless_asked_since_ms)

    async def sweep(self) -> Swept:
        """Remove expired uploads, and what a crash left without a name for a day."""
        day_ago_ms = await self._blobs.now_ms() - UNUSED_LIFE_MS
        for digest in await self._registry.find_recorded(before_ms=day_ago_ms):
            await self._remove_adapter(digest)
        return await self._blobs.sweep()

    async def _remove_adapter(self, digest: str) -> None:
        images = await self._registry.forget_adapter(digest)
        await self.remove_blobs(images, unless_asked_since_ms=await self._blobs.now_ms())
