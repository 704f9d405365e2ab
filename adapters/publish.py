"""From two uploaded files to a version: admitted first, and only then made visible."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from .admission import Admission, Admitted, Progress, PublishRequest, PublishStep, Watch
from .blobs import Blobs
from .errors import AdapterError
from .records import Call, Publication, Published
from .registry import Registry
from .removal import Removal


class Publisher:
    """Publishes what an admission lets pass."""

    def __init__(
        self, registry: Registry, blobs: Blobs, removal: Removal, admission: Admission
    ) -> None:
        self._registry = registry
        self._blobs = blobs
        self._removal = removal
        self._admission = admission

    async def publish(
        self, call: Call, request: PublishRequest, *, validate_only: bool = False
    ) -> AsyncGenerator[Progress | Admitted | Published, None]:
        """Publish, step by step; the last item is the version.

        Under a request id that was answered before, that answer is the only item. With
        `validate_only` the last item is what would have been published.

        Raises:
            BlobNotFound: The tenant has not uploaded a file.
            Refused: With every violation; the files are removed if nothing else needs them.
            AliasConflict, QuotaExceeded, RequestConflict: Nothing was changed.
        """
        before = await self._registry.find_published(
            call, request.adapter, fingerprint=request.fingerprint
        )
        if before is not None:
            yield before
            return
        admitted = None
        try:
            async with aclosing(self._admission.admit(call, request)) as admitting:
                async for item in admitting:
                    if isinstance(item, Progress) or validate_only:
                        yield item
                        continue
                    admitted = item
                    watch = Watch(PublishStep.PUBLISH)
                    yield watch.start()
                    published = await self._make_visible(call, request, admitted)
                    yield watch.end(published.version.model)
                    yield published
        except AdapterError:
            if admitted is not None:
                await self._removal.remove_image(admitted.content)
            raise

    async def _make_visible(
        self, call: Call, request: PublishRequest, admitted: Admitted
    ) -> Published:
        await self.store_image(admitted)
        return await self._registry.publish(
            call,
            Publication(request.adapter, admitted.content, request.aliases),
            fingerprint=request.fingerprint,
        )

    async def store_image(self, admitted: Admitted) -> None:
        """Store and record the image, without which no version can be published."""
        content = admitted.content
        await self._blobs.put_file(None, admitted.image_path)
        await self._registry.record_adapter(
            content.digest,
            admitted.manifest,
            layout_id=content.layout_id,
            image_digest=content.image_digest,
        )
