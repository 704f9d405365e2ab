"""The two faces of the operations: blocking, and on asyncio."""

from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from functools import wraps
from typing import Concatenate, ParamSpec, Self, TypeVar

import grpc
import grpc.aio

from .adapters import AdapterCalls
from .jobs import JobCalls
from .transport import CHANNEL_OPTIONS, AioTransport, BlockingTransport

ADDRESS = "localhost:7700"

P = ParamSpec("P")
T = TypeVar("T")


class Operations(AdapterCalls, JobCalls):
    """Every operation of a client, written once, as coroutines over a transport."""


class AsyncClient(Operations):
    """A client on asyncio.

    Args:
        address: host:port of a server.
        api_key: Sent with every call. It is never shown or logged.
        timeout_s: Limit of every call; None: a minute, and no limit for what streams.
        credentials: For a server that speaks TLS.
    """

    def __init__(
        self,
        address: str = ADDRESS,
        *,
        api_key: str | None = None,
        timeout_s: float | None = None,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        channel = (
            grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
            if credentials is None
            else grpc.aio.secure_channel(address, credentials, options=CHANNEL_OPTIONS)
        )
        super().__init__(AioTransport(channel), api_key=api_key, timeout_s=timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def finish(coroutine: Coroutine[object, None, T]) -> T:
    """Run a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("a coroutine over a blocking transport has suspended")


def blocking(
    operation: Callable[Concatenate[Operations, P], Coroutine[object, None, T]],
) -> Callable[Concatenate["Client", P], T]:
    """Give an operation its blocking face."""

    @wraps(operation)
    def call(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return finish(operation(self.operations, *args, **kwargs))

    return call


def iterating(
    operation: Callable[Concatenate[Operations, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate["Client", P], Generator[T, None, None]]:
    """Give a streaming operation its blocking face; leaving the iteration cancels the call."""

    @wraps(operation)
    def call(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> Generator[T, None, None]:
        stream = operation(self.operations, *args, **kwargs)
        try:
            while True:
                try:
                    item = finish(anext(stream))
                except StopAsyncIteration:
                    return
                yield item
        finally:
            finish(stream.aclose())

    return call


class Client:
    """A client for code without asyncio; as AsyncClient, but that it blocks."""

    def __init__(
        self,
        address: str = ADDRESS,
        *,
        api_key: str | None = None,
        timeout_s: float | None = None,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        channel = (
            grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
            if credentials is None
            else grpc.secure_channel(address, credentials, options=CHANNEL_OPTIONS)
        )
        self.operations = Operations(
            BlockingTransport(channel), api_key=api_key, timeout_s=timeout_s
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    call = blocking(Operations.call)
    collect = blocking(Operations.collect)
    stream = iterating(Operations.stream)
    close = blocking(Operations.close)

    generate = iterating(Operations.generate)
    complete = blocking(Operations.complete)
    tokenize = blocking(Operations.tokenize)
    models = blocking(Operations.models)
    model = blocking(Operations.model)

    publish = blocking(Operations.publish)
    check = blocking(Operations.check)
    pull = blocking(Operations.pull)
    adapters = blocking(Operations.adapters)
    versions = blocking(Operations.versions)
    version = blocking(Operations.version)
    aliases = blocking(Operations.aliases)
    set_alias = blocking(Operations.set_alias)
    delete_alias = blocking(Operations.delete_alias)
    rollback = blocking(Operations.rollback)
    retire = blocking(Operations.retire)
    restore = blocking(Operations.restore)
    delete = blocking(Operations.delete)
    warm = blocking(Operations.warm)
    pin = blocking(Operations.pin)
    unpin = blocking(Operations.unpin)
    residency = blocking(Operations.residency)
    watch = iterating(Operations.watch)

    upload_dataset = blocking(Operations.upload_dataset)
    datasets = blocking(Operations.datasets)
    submit = blocking(Operations.submit)
    job = blocking(Operations.job)
    jobs = blocking(Operations.jobs)
    cancel_job = blocking(Operations.cancel_job)
    watch_job = iterating(Operations.watch_job)
