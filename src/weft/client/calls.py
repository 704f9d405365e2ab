"""What every operation is made of: a call, a stream, pages, and files sent where they lack."""

from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from google.protobuf.message import Message

from weft.protos.v1 import adapters_pb2, jobs_pb2

from .errors import WeftError, weft_errors
from .transfer import OnProgress, blob_of, chunks
from .transport import ATTEMPTS, AioTransport, BlockingTransport, Call, call_of

CALL_TIMEOUT_S = 60.0

T = TypeVar("T")
R = TypeVar("R", bound=Message)


def text_in(message: Message, field: str) -> str:
    """Read a field that not every message has."""
    return getattr(message, field, "")


def set_text(message: Message, field: str, text: str) -> None:
    setattr(message, field, text)


def identify(request: Message) -> None:
    """Give a request that can be repeated an id of its own, unless it has one."""
    if "request_id" in request.DESCRIPTOR.fields_by_name and not text_in(request, "request_id"):
        set_text(request, "request_id", str(uuid4()))


def caused_event(response: Message) -> str:
    """Find the id of the registry's event that a call caused; empty where there is none."""
    match response:
        case adapters_pb2.PublishAdapterResponse():
            return response.result.event_id
        case jobs_pb2.WatchJobResponse():
            return response.event.published.event_id
        case jobs_pb2.GetJobResponse():
            return response.job.result.event_id
    return text_in(response, "event_id")


def event_order(event_id: str) -> tuple[int, ...]:
    """Order events as the registry does: by time and number. No event comes first."""
    return tuple(int(part) for part in event_id.split("-")) if event_id else ()


async def persist(attempt: Callable[[], Coroutine[object, None, T]]) -> T:
    """Make an attempt again while it fails for reasons that pass."""
    for _ in range(ATTEMPTS - 1):
        try:
            return await attempt()
        except WeftError as error:
            if not error.is_transient:
                raise
    return await attempt()


class Calls:
    """The calls of `weft.v1` over one transport.

    What is changed by one call is seen by the next, on whichever server it arrives.
    """

    def __init__(
        self,
        transport: BlockingTransport | AioTransport,
        *,
        api_key: str | None,
        timeout_s: float | None,
    ) -> None:
        self._transport = transport
        self._credentials = (("authorization", f"Bearer {api_key}"),) if api_key else ()
        self._timeout_s = timeout_s
        self._after = ""

    def _call(
        self, request: type[Message], answer: type[R], timeout_s: float | None = None
    ) -> Call[R]:
        after = (("x-weft-after", self._after),) if self._after else ()
        return call_of(
            request,
            answer,
            timeout_s=timeout_s if self._timeout_s is None else self._timeout_s,
            metadata=self._credentials + after,
        )

    async def call(self, request: Message, answer: type[R]) -> R:
        """Make the call that takes this request."""
        identify(request)
        call = self._call(type(request), answer, CALL_TIMEOUT_S)
        with weft_errors():
            response = await self._transport.unary(call, request)
        self._note(response)
        return response

    async def stream(self, request: Message, answer: type[R]) -> AsyncGenerator[R, None]:
        """Make the call that takes this request and streams; leaving it cancels the call."""
        identify(request)
        call = self._call(type(request), answer)
        with weft_errors():
            async with aclosing(self._transport.stream(call, request)) as responses:
                async for response in responses:
                    self._note(response)
                    yield response

    def _note(self, response: Message) -> None:
        """Remember the newest event; a job that is watched again tells of an old one."""
        self._after = max(self._after, caused_event(response), key=event_order)

    async def collect(self, request: Message, answer: type[R]) -> R:
        """Ask for one page after another, and answer them as one."""
        pages = answer()
        while True:
            page = await self.call(request, answer)
            pages.MergeFrom(page)
            pages.ClearField("next_page_token")
            token = text_in(page, "next_page_token")
            if not token:
                return pages
            set_text(request, "page_token", token)

    async def follow(
        self, request: Message, answer: type[R], cursor_of: Callable[[R], str]
    ) -> AsyncGenerator[R, None]:
        """Stream; when the connection is lost, go on from the last cursor."""
        while True:
            progressed = False
            try:
                async with aclosing(self.stream(request, answer)) as responses:
                    async for response in responses:
                        progressed = True
                        cursor = cursor_of(response)
                        if cursor:
                            set_text(request, "cursor", cursor)
                        yield response
            except WeftError as error:
                if not (progressed and error.is_transient):
                    raise
            else:
                return

    async def close(self) -> None:
        """Close the connection; running calls are cancelled."""
        await self._transport.close()

    async def send_missing(self, paths: Iterable[Path], on_progress: OnProgress) -> list[str]:
        """Upload those of the files that the server lacks, and answer the digests of all."""
        blobs = {path: await self._transport.work(partial(blob_of, path)) for path in paths}
        request = adapters_pb2.FindMissingRequest(blobs=blobs.values())
        missing = (await self.call(request, adapters_pb2.FindMissingResponse)).digests
        for path, blob in blobs.items():
            if blob.digest in missing:
                await persist(partial(self._send, path, blob, on_progress))
        return [blob.digest for blob in blobs.values()]

    async def _send(self, path: Path, blob: adapters_pb2.BlobKey, on_progress: OnProgress) -> None:
        """Upload one file, from where an earlier attempt has left it."""
        request = adapters_pb2.CreateUploadRequest(digest=blob.digest, size_bytes=blob.size_bytes)
        upload = (await self.call(request, adapters_pb2.CreateUploadResponse)).upload
        if upload.committed_bytes < upload.size_bytes:
            call = self._call(adapters_pb2.WriteUploadRequest, adapters_pb2.WriteUploadResponse)
            with weft_errors():
                await self._transport.upload(call, chunks(path, upload, on_progress))
        commit = adapters_pb2.CommitUploadRequest(upload=upload.upload)
        await self.call(commit, adapters_pb2.CommitUploadResponse)
