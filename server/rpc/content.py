"""AdapterService, the half about bytes: uploads, checks, publication, downloads."""

import asyncio
import logging
import tempfile
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

from weft.adapters.admission import WEIGHTS_FILE, Admitted, Progress, PublishRequest
from weft.adapters.blobs import Blobs
from weft.adapters.catalogue import Catalogue
from weft.adapters.config import CONFIG_FILE
from weft.adapters.digest import is_digest
from weft.adapters.errors import Refused, UploadNotFound
from weft.adapters.image import read_image, write_image
from weft.adapters.names import LATEST, RESERVED, is_name
from weft.adapters.publish import Publisher
from weft.adapters.records import AliasMove, Call, Published, Version, VersionState
from weft.adapters.sites import BaseFacts
from weft.adapters.store import CHUNK_BYTES, StorageId
from weft.adapters.tensor_checks import Limits
from weft.adapters.uploads import Upload, Uploads
from weft.adapters.view import RegistryView
from weft.adapters.weights import check_adapter
from weft.protos.v1 import adapters_pb2
from weft.server import metrics
from weft.server.errors import MessageTooLarge

from .auth import CALLER
from .border import Context
from .fields import Findings, call_of, check_labels
from .messages import alias_message, version_message, violation_messages
from .targets import Targets

logger = logging.getLogger("weft.adapters")

MAX_DIGESTS = 1000
MAX_DATA_BYTES = 1024**2


class ContentCalls:
    """Calls that move bytes; a tenant sees only what it uploaded itself."""

    _publisher: Publisher
    _uploads: Uploads
    _blobs: Blobs
    _facts: BaseFacts
    _limits: Limits
    _targets: Targets
    _catalogue: Catalogue
    _view: RegistryView

    async def FindMissing(
        self, request: adapters_pb2.FindMissingRequest, context: Context
    ) -> adapters_pb2.FindMissingResponse:
        findings = Findings()
        count = len(request.blobs)
        findings.check(1 <= count <= MAX_DIGESTS, "blobs", count, f"1 to {MAX_DIGESTS}")
        for key in request.blobs:
            check_digest("blobs.digest", key.digest, findings)
        findings.done()
        digests = [key.digest for key in request.blobs]
        missing = await self._blobs.find_missing(CALLER.get().tenant, digests)
        return adapters_pb2.FindMissingResponse(digests=missing)

    async def CreateUpload(
        self, request: adapters_pb2.CreateUploadRequest, context: Context
    ) -> adapters_pb2.CreateUploadResponse:
        findings = Findings()
        check_digest("digest", request.digest, findings)
        findings.check(request.size_bytes >= 1, "size_bytes", request.size_bytes, "at least 1")
        findings.done()
        tenant = CALLER.get().tenant
        upload = await self._uploads.create(tenant, request.digest, request.size_bytes)
        return adapters_pb2.CreateUploadResponse(upload=upload_message(upload))

    async def WriteUpload(
        self, requests: AsyncIterator[adapters_pb2.WriteUploadRequest], context: Context
    ) -> adapters_pb2.WriteUploadResponse:
        """Store each message before the next one is read, so that flow control is the client's."""
        writer, name = None, ""
        async for request in requests:
            if writer is None:
                name = request.upload
                writer = await self._uploads.open_writer(CALLER.get().tenant, name)
            findings = Findings()
            findings.check(request.upload == name, "upload", request.upload, f"{name} as before")
            findings.done()
            if len(request.data) > MAX_DATA_BYTES:
                raise MessageTooLarge(
                    f"{len(request.data)} bytes of data exceed {MAX_DATA_BYTES} a message",
                    limit=MAX_DATA_BYTES,
                )
            await writer.write(request.offset_bytes, request.data)
        committed = writer.committed_bytes if writer is not None else 0
        return adapters_pb2.WriteUploadResponse(committed_bytes=committed)

    async def GetUpload(
        self, request: adapters_pb2.GetUploadRequest, context: Context
    ) -> adapters_pb2.GetUploadResponse:
        upload = await self._uploads.get(CALLER.get().tenant, request.upload)
        return adapters_pb2.GetUploadResponse(upload=upload_message(upload))

    async def CommitUpload(
        self, request: adapters_pb2.CommitUploadRequest, context: Context
    ) -> adapters_pb2.CommitUploadResponse:
        digest = await self._commit(CALLER.get().tenant, request.upload)
        return adapters_pb2.CommitUploadResponse(
            digest=digest, size_bytes=await self._blobs.size(digest)
        )

    async def _commit(self, tenant: str, upload: str) -> str:
        """Commit an upload, or find that it was committed before."""
        try:
            return await self._uploads.commit(tenant, upload)
        except UploadNotFound:
            try:
                digest = StorageId.parse(upload).digest
            except ValueError:
                digest = ""
            if not digest or await self._blobs.find_missing(tenant, [digest]):
                raise
            return digest

    async def PublishAdapter(
        self, request: adapters_pb2.PublishAdapterRequest, context: Context
    ) -> AsyncIterator[adapters_pb2.PublishAdapterResponse]:
        self._targets.require_base(request.base)
        call, wanted = read_publish(request)
        steps = self._publisher.publish(call, wanted, validate_only=request.validate_only)
        try:
            async with aclosing(steps):
                async for step in steps:
                    if isinstance(step, Progress):
                        yield adapters_pb2.PublishAdapterResponse(progress=progress_message(step))
                    elif isinstance(step, Published):
                        yield await self._published(step)
                    else:
                        yield validated_message(wanted.adapter, step)
        except Refused as refusal:
            for violation in refusal.violations:
                metrics.ADMISSIONS.labels(violation.code).inc()
            raise

    async def _published(self, published: Published) -> adapters_pb2.PublishAdapterResponse:
        """Answer once this front itself resolves the new version."""
        await self._view.refresh()
        metrics.ADMISSIONS.labels("OK").inc()
        version = published.version
        aliases = await self._catalogue.list_aliases(version.tenant, version.adapter)
        manifest = await self._catalogue.get_manifest(version.digest)
        mine = [alias for alias in aliases if alias.version == version.number]
        logger.info(
            "published",
            extra={
                "fields": {
                    "tenant": version.tenant,
                    "model": version.model,
                    "digest": version.digest,
                    "aliases": ",".join(alias.name for alias in mine),
                    "by": version.content.publisher,
                }
            },
        )
        return adapters_pb2.PublishAdapterResponse(
            result=adapters_pb2.PublishResult(
                version=version_message(version, aliases=aliases, manifest=manifest),
                aliases=[
                    alias_message(version.adapter, alias, {version.number: version.digest})
                    for alias in mine
                ],
                event_id=published.event_id,
            )
        )

    async def CheckAdapter(
        self, request: adapters_pb2.CheckAdapterRequest, context: Context
    ) -> adapters_pb2.CheckAdapterResponse:
        self._targets.require_base(request.base)
        digests = [request.config_digest, request.weights_digest]
        await self._blobs.check_owned(CALLER.get().tenant, digests)
        with tempfile.TemporaryDirectory(prefix="weft-check-") as name:
            folder = Path(name)
            await self._blobs.fetch(request.config_digest, folder / CONFIG_FILE)
            await self._blobs.fetch(request.weights_digest, folder / WEIGHTS_FILE)
            return await asyncio.to_thread(self._check, folder, request)

    def _check(
        self, folder: Path, request: adapters_pb2.CheckAdapterRequest
    ) -> adapters_pb2.CheckAdapterResponse:
        try:
            checked = check_adapter(
                folder / CONFIG_FILE,
                folder / WEIGHTS_FILE,
                self._facts,
                limits=self._limits,
                assert_base=request.assert_base,
                allow_no_effect=request.allow_no_effect,
            )
        except Refused as refusal:
            violations = violation_messages(refusal.violations)
            return adapters_pb2.CheckAdapterResponse(violations=violations)
        image = folder / "image"
        write_image(checked, self._facts, image)
        return adapters_pb2.CheckAdapterResponse(
            digest=checked.digest,
            warnings=violation_messages(checked.warnings),
            image_bytes=read_image(image, self._facts).data.nbytes,
        )

    async def DownloadFile(
        self, request: adapters_pb2.DownloadFileRequest, context: Context
    ) -> AsyncIterator[adapters_pb2.DownloadFileResponse]:
        target = await self._targets.resolve_adapter(CALLER.get(), request.model, context)
        content = target.content
        files = {
            CONFIG_FILE: (content.config_digest, content.config_bytes),
            WEIGHTS_FILE: (content.weights_digest, content.weights_bytes),
        }
        findings = Findings()
        findings.check(request.file in files, "file", request.file, f"one of {', '.join(files)}")
        findings.done()
        digest, size = files[request.file]
        offset = request.offset_bytes
        findings.check(offset <= size, "offset_bytes", offset, f"at most the file's {size}")
        findings.done()
        yield adapters_pb2.DownloadFileResponse(
            file=adapters_pb2.FileInfo(
                file=request.file, digest=digest, size_bytes=size, model=target.model
            )
        )
        async for data in self._blobs.read(digest, offset=offset):
            yield adapters_pb2.DownloadFileResponse(data=data)


def read_publish(
    request: adapters_pb2.PublishAdapterRequest,
) -> tuple[Call, PublishRequest]:
    """Check a request to publish; raise RequestInvalid with every violation."""
    findings = Findings()
    findings.check(
        is_name(request.adapter) and request.adapter not in RESERVED,
        "adapter",
        request.adapter,
        "1 to 63 of a-z 0-9 . _ - with a letter or digit at both ends, and not reserved",
    )
    check_digest("config_digest", request.config_digest, findings)
    check_digest("weights_digest", request.weights_digest, findings)
    for move in request.aliases:
        findings.check(is_name(move.alias), "aliases.alias", move.alias, "a name")
    check_labels("labels", request.labels, findings)
    findings.done()
    moves = {
        move.alias: AliasMove(
            move.alias,
            move.expected_generation if move.HasField("expected_generation") else None,
        )
        for move in request.aliases
    }
    if not request.no_latest:
        moves.setdefault(LATEST, AliasMove(LATEST))
    return call_of(request.request_id), PublishRequest(
        adapter=request.adapter,
        config_digest=request.config_digest,
        weights_digest=request.weights_digest,
        aliases=tuple(moves.values()),
        labels=dict(request.labels),
        assert_base=request.assert_base,
        allow_no_effect=request.allow_no_effect,
    )


def progress_message(progress: Progress) -> adapters_pb2.PublishProgress:
    return adapters_pb2.PublishProgress(
        step=f"PUBLISH_STEP_{progress.step.name}",
        done=progress.done,
        elapsed_ms=progress.elapsed_ms,
        detail=progress.detail,
    )


def validated_message(adapter: str, admitted: Admitted) -> adapters_pb2.PublishAdapterResponse:
    """Describe the version that would be published; it has no number."""
    caller = CALLER.get()
    version = Version(
        caller.tenant, adapter, 0, VersionState.PUBLISHED, created_ms=0, content=admitted.content
    )
    message = version_message(version, manifest=admitted.manifest)
    message.ClearField("name")
    return adapters_pb2.PublishAdapterResponse(result=adapters_pb2.PublishResult(version=message))


def check_digest(name: str, digest: str, findings: Findings) -> None:
    findings.check(is_digest(digest), name, digest, "sha256: and 64 hexadecimal digits")


def upload_message(upload: Upload) -> adapters_pb2.Upload:
    return adapters_pb2.Upload(
        upload=upload.upload_id,
        digest=upload.digest,
        size_bytes=upload.size_bytes,
        committed_bytes=upload.committed_bytes,
        chunk_bytes=CHUNK_BYTES,
        expires_ms=upload.expires_ms,
    )
