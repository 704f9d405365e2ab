"""What every call passes: credentials on the way in, one status for every error on the way out."""

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

import grpc
import grpc.aio
from google.protobuf.message import Message
from grpc_status import rpc_status

from weft.adapters.errors import Unsupported
from weft.server import metrics
from weft.server.errors import (
    CredentialsInvalid,
    CredentialsMissing,
    DeadlineExceeded,
    ShuttingDown,
)

from .auth import CALLER, Door
from .status import row_of, status_of

logger = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Message, Message]
Unary = Callable[[Message, Context], Awaitable[Message]]
Streaming = Callable[[Message, Context], AsyncIterator[Message]]
Request = TypeVar("Request")
Response = TypeVar("Response")
if TYPE_CHECKING:  # generic in its stub only
    Handler = grpc.RpcMethodHandler[Request, Response]

ROLES = {
    "weft.v1.InferenceService": "infer",
    "weft.v1.AdapterService": "publish",
    "weft.v1.JobService": "train",
    "weft.v1.AdminService": "admin",
}
_MAKERS: dict[tuple[bool, bool], Callable[..., Any]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}
READING = ("Get", "List", "Find", "Watch")


def required_role(method: str) -> str | None:
    """Name the role that `/service/method` needs; None: every caller that is known."""
    _, service, name = method.split("/")
    role = ROLES[service]
    return None if name.startswith(READING) and role != "admin" else role


def is_watch(method: str) -> bool:
    return method.rpartition("/")[2].startswith("Watch")


def time_left_s(context: Context, *, cap_s: float) -> float:
    """Until the caller's deadline, capped; without one, the cap."""
    remaining = context.time_remaining()
    return cap_s if remaining is None else min(remaining, cap_s)


def metadata_of(context: Context) -> dict[str, str]:
    """The text entries of the call's metadata."""
    found = context.invocation_metadata() or ()
    return {key: value for key, value in found if isinstance(value, str)}


class Border(grpc.aio.ServerInterceptor):
    """Wraps handlers of all four kinds; health and reflection are open to everybody."""

    def __init__(self, door: Door, *, max_request_s: float) -> None:
        self._door = door
        self._max_request_s = max_request_s
        self._watches: set[asyncio.Timeout] = set()

    def end_watches(self) -> None:
        """End the calls that never end by themselves, so that the server can stop."""
        now = asyncio.get_running_loop().time()
        for watch in self._watches:
            watch.reschedule(now)

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable["Handler[Request, Response] | None"]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler[Request, Response] | None":
        handler = await continuation(handler_call_details)
        method: str = handler_call_details.method
        if handler is None or not method.startswith("/weft."):
            return handler
        inner = handler.stream_stream or handler.unary_stream
        outer: Streaming | Unary
        if inner is not None:
            outer = self._streaming(method, cast("Streaming", inner))
        else:
            outer = self._unary(method, cast("Unary", handler.stream_unary or handler.unary_unary))
        make = _MAKERS[handler.request_streaming, handler.response_streaming]
        return cast(
            "Handler[Request, Response]",
            make(outer, handler.request_deserializer, handler.response_serializer),
        )

    def _unary(self, method: str, inner: Unary) -> Unary:
        async def handle(request: Message, context: Context) -> Message:
            try:
                await self._enter(method, context)
                async with asyncio.timeout(time_left_s(context, cap_s=self._max_request_s)):
                    return await inner(request, context)
            except TimeoutError:
                await _refuse(DeadlineExceeded("the deadline passed"), method, context)
            except Exception as error:  # noqa: BLE001  (the edge of one call)
                await _refuse(error, method, context)

        return handle

    def _streaming(self, method: str, inner: Streaming) -> Streaming:
        async def handle(request: Message, context: Context) -> AsyncIterator[Message]:
            try:
                await self._enter(method, context)
                messages = cast("AsyncGenerator[Message, None]", inner(request, context))
                async with self._watching(method), aclosing(messages):
                    async for message in messages:
                        yield message
            except Exception as error:  # noqa: BLE001  (the edge of one call)
                await _refuse(error, method, context)

        return handle

    @asynccontextmanager
    async def _watching(self, method: str) -> AsyncIterator[None]:
        """Raise ShuttingDown in a call that watches when the watches are ended."""
        if not is_watch(method):
            yield
            return
        try:
            async with asyncio.timeout(None) as watch:
                self._watches.add(watch)
                yield
        except TimeoutError as error:
            if watch.expired():
                raise ShuttingDown("this server stops; go on from the last cursor") from error
            raise
        finally:
            self._watches.discard(watch)

    async def _enter(self, method: str, context: Context) -> None:
        authorization = metadata_of(context).get("authorization")
        try:
            caller = await self._door.authenticate(
                authorization, peer=context.peer().rpartition(":")[0]
            )
        except (CredentialsInvalid, CredentialsMissing) as error:
            metrics.AUTH_FAILURES.labels(row_of(error).reason).inc()
            raise
        if role := required_role(method):
            caller.require(role)
        CALLER.set(caller)


async def _refuse(error: Exception, method: str, context: Context) -> NoReturn:
    """End the call with the error's status; what is unforeseen goes to the log under an id.

    A call whose caller has gone meanwhile is cancelled: nobody is left to be told.
    """
    if isinstance(error, NotImplementedError):  # what the generated servicer raises
        name = method.rpartition("/")[2]
        error = Unsupported(f"{name} is not served by this server", field=name)
    error_id = uuid.uuid4().hex[:12]
    if row_of(error).reason == "INTERNAL":
        logger.error("%s failed, error %s", method, error_id, exc_info=error)
    status = rpc_status.to_status(status_of(error, error_id=error_id))
    try:
        await context.abort_with_status(status)
    except grpc.aio.InternalError as gone:
        raise asyncio.CancelledError from gone
