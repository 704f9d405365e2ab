"""The disk cache of images: brought from the store, or packed again from the uploaded files."""

import asyncio
import fcntl
import logging
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from weft.adapters.admission import WEIGHTS_FILE, Candidate, Probe
from weft.adapters.blobs import Blobs
from weft.adapters.catalogue import Catalogue
from weft.adapters.config import CONFIG_FILE
from weft.adapters.digest import digest_file
from weft.adapters.errors import ContentCorrupt, ModelNotFound
from weft.adapters.image import write_image
from weft.adapters.leases import Leases
from weft.adapters.records import VersionContent
from weft.adapters.sites import BaseFacts
from weft.adapters.tensor_checks import Limits
from weft.adapters.view import RegistryView
from weft.adapters.weights import check_adapter
from weft.server import metrics

logger = logging.getLogger(__name__)


class ImageCache:
    """Images of this server's layout, a file per digest; the least recently used ones go first."""

    def __init__(
        self,
        folder: Path,
        *,
        facts: BaseFacts,
        limits: Limits,
        view: RegistryView,
        catalogue: Catalogue,
        blobs: Blobs,
        leases: Leases,
        probe: Probe,
        max_bytes: int,
    ) -> None:
        layout = facts.layout_id.rpartition(":")[2]
        self._folder = folder / "images" / f"{facts.precision}-{layout[:16]}"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._facts = facts
        self._limits = limits
        self._view = view
        self._catalogue = catalogue
        self._blobs = blobs
        self._leases = leases
        self._probe = probe
        self._max_bytes = max_bytes
        self._verified: set[str] = set()

    async def bring(self, digest: str) -> Path:
        """Answer the path of an adapter's image, which stays readable once it is opened.

        A file from an earlier start is hashed at its first use.

        Raises:
            ModelNotFound: No version names this digest.
            StoreUnavailable, ContentCorrupt, BlobNotFound: Its bytes cannot be had.
        """
        path = self._folder / digest.removeprefix("sha256:")
        async with locked(path.with_suffix(".lock")):
            if digest in self._verified and path.exists():
                path.touch()
                return path
            content = self._view.find_content(digest)
            if content is None:
                raise ModelNotFound(f"no version names {digest}")
            image = await self._image_blob(content)
            if not await asyncio.to_thread(is_whole, path, image):
                await self._fetch(content, image, path)
            self._verified.add(digest)
        await asyncio.to_thread(self._evict, keep=path)
        return path

    def sizes(self) -> dict[str, int]:
        """Bytes of every image on the disk, by digest."""
        return {f"sha256:{path.name}": path.stat().st_size for path in self._files()}

    def _files(self) -> list[Path]:
        return [path for path in self._folder.iterdir() if path.suffix == "" and path.is_file()]

    async def _image_blob(self, content: VersionContent) -> str | None:
        """Digest of the image in this server's layout, if somebody has packed one."""
        if content.layout_id == self._facts.layout_id:
            return content.image_digest
        return await self._catalogue.find_image(content.digest, self._facts.layout_id)

    async def _fetch(self, content: VersionContent, image: str | None, path: Path) -> None:
        """Write a temporary file beside the place, and rename it."""
        wanted = [image] if image is not None else [content.config_digest, content.weights_digest]
        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            fetched = Path(name) / "image"
            async with self._leases.hold(wanted, reason="fetch"):
                if image is not None:
                    await self._blobs.fetch(image, fetched)
                else:
                    await self._pack(content, fetched)
            fetched.rename(path)

    async def _pack(self, content: VersionContent, image: Path) -> None:
        """Pack the image of a version that was published under another layout, and probe it."""
        config, weights = image.with_name(CONFIG_FILE), image.with_name(WEIGHTS_FILE)
        await self._blobs.fetch(content.config_digest, config)
        await self._blobs.fetch(content.weights_digest, weights)

        def pack() -> str:
            checked = check_adapter(
                config,
                weights,
                self._facts,
                limits=self._limits,
                assert_base=True,
                allow_no_effect=True,
            )
            write_image(checked, self._facts, image)
            return checked.digest

        digest = await asyncio.to_thread(pack)
        if digest != content.digest:
            raise ContentCorrupt(f"files of {content.digest} make {digest}", digest=content.digest)
        logger.info("packed %s again for %s", content.digest, self._facts.layout_id)
        await self._probe(Candidate(digest, config, weights, image, allow_no_effect=True))

    def _evict(self, *, keep: Path) -> None:
        """Remove images until the rest fits; whoever has one open keeps its bytes."""
        by_use = sorted(self._files(), key=lambda path: path.stat().st_mtime)
        total = sum(path.stat().st_size for path in by_use)
        for path in by_use:
            if total <= self._max_bytes:
                return
            if path != keep:
                total -= path.stat().st_size
                path.unlink()
                metrics.EVICTIONS.labels("disk").inc()


def is_whole(path: Path, image: str | None) -> bool:
    """Whether a file from before is the image; without a known digest it cannot be told."""
    return image is not None and path.exists() and digest_file(path) == image


@asynccontextmanager
async def locked(path: Path) -> AsyncIterator[None]:
    """Hold a file lock, so that one image is fetched once, by whichever front."""
    with path.open("w") as file:
        await asyncio.to_thread(fcntl.flock, file, fcntl.LOCK_EX)
        yield
