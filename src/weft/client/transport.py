"""How calls travel: over a blocking channel, or over one of asyncio.

Operations are coroutines over a transport. Those of BlockingTransport never suspend, so whoever
runs an operation over it runs it to the end in one step.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from weft.protos.v1 import adapters_pb2, admin_pb2, inference_pb2, jobs_pb2

MAX_MESSAGE_BYTES = 4 * 1024**2
ATTEMPTS = 5

# A request belongs to one call, so its type says which.
METHODS = {
    method.input_type.full_name: method
    for file in (inference_pb2, adapters_pb2, jobs_pb2, admin_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
# gRPC repeats a call only while nothing of its answer has arrived. An upload is no such call: it
# goes on from where the server says that it stands.
RETRIES = {
    "methodConfig": [
        {
            "name": [
                {"service": method.containing_service.full_name, "method": method.name}
                for method in METHODS.values()
                if not method.client_streaming
            ],
            "retryPolicy": {
                "maxAttempts": ATTEMPTS,
                "initialBackoff": "0.2s",
                "maxBackoff": "3s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}
CHANNEL_OPTIONS = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.service_config", json.dumps(RETRIES)),
)

T = TypeVar("T")
R = TypeVar("R", bound=Message)


@dataclass(frozen=True, slots=True)
class Call(Generic[R]):
    """Which call it is, what it answers, and what goes with it."""

    path: str
    answer: type[R]
    timeout_s: float | None
    metadata: tuple[tuple[str, str], ...]


def call_of(
    request: type[Message],
    answer: type[R],
    *,
    timeout_s: float | None,
    metadata: tuple[tuple[str, str], ...],
) -> Call[R]:
    """Describe the call that takes `request`; raise ValueError if it answers something else."""
    method = METHODS[request.DESCRIPTOR.full_name]
    if method.output_type is not answer.DESCRIPTOR:
        raise ValueError(f"{method.name} does not answer {answer.DESCRIPTOR.name}")
    path = f"/{method.containing_service.full_name}/{method.name}"
    return Call(path, answer, timeout_s, metadata)


def serialize(message: Message) -> bytes:
    return message.SerializeToString()


class BlockingTransport:
    """Over a sync channel; a coroutine of its never suspends."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    async def unary(self, call: Call[R], request: Message) -> R:
        method = self._channel.unary_unary(call.path, serialize, call.answer.FromString)
        return method(request, timeout=call.timeout_s, metadata=call.metadata)

    async def upload(self, call: Call[R], requests: Iterator[Message]) -> R:
        method = self._channel.stream_unary(call.path, serialize, call.answer.FromString)
        return method(requests, timeout=call.timeout_s, metadata=call.metadata)

    async def stream(self, call: Call[R], request: Message) -> AsyncGenerator[R, None]:
        method = self._channel.unary_stream(call.path, serialize, call.answer.FromString)
        responses = method(request, timeout=call.timeout_s, metadata=call.metadata)
        try:
            for response in responses:
                yield response
        finally:
            responses.cancel()

    async def work(self, function: Callable[[], T]) -> T:
        return function()

    async def close(self) -> None:
        self._channel.close()


class AioTransport:
    """Over a channel of asyncio; other work goes to a thread."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    async def unary(self, call: Call[R], request: Message) -> R:
        method = self._channel.unary_unary(call.path, serialize, call.answer.FromString)
        return await method(request, timeout=call.timeout_s, metadata=call.metadata)

    async def upload(self, call: Call[R], requests: Iterator[Message]) -> R:
        method = self._channel.stream_unary(call.path, serialize, call.answer.FromString)
        return await method(requests, timeout=call.timeout_s, metadata=call.metadata)

    async def stream(self, call: Call[R], request: Message) -> AsyncGenerator[R, None]:
        method = self._channel.unary_stream(call.path, serialize, call.answer.FromString)
        responses = method(request, timeout=call.timeout_s, metadata=call.metadata)
        try:
            async for response in responses:
                yield response
        finally:
            responses.cancel()

    async def work(self, function: Callable[[], T]) -> T:
        return await asyncio.to_thread(function)

    async def close(self) -> None:
        await self._channel.close()
