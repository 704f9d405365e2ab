"""The client library: `Client` for ordinary code, `AsyncClient` for asyncio.

    with Client("localhost:7700") as weft:
        version = weft.publish("support", "out/adapter", aliases=["prod"])
        for chunk in weft.generate("support:prod", chat=[user("Hello")]):
            print(chunk.text, end="")

It needs grpcio and protobuf only, and knows the wire only.
"""

from weft.protos.v1.inference_pb2 import ChatMessage, Constraint, EarlyStopping, Sampling, Stopping
from weft.protos.v1.types_pb2 import Priority

from .errors import FieldViolation, WeftError, error_of_status
from .faces import AsyncClient, Client
from .generation import Answer, Completion, assistant, system, user
from .transfer import Progress

__all__ = [
    "Answer",
    "AsyncClient",
    "ChatMessage",
    "Client",
    "Completion",
    "Constraint",
    "EarlyStopping",
    "FieldViolation",
    "Priority",
    "Progress",
    "Sampling",
    "Stopping",
    "WeftError",
    "assistant",
    "error_of_status",
    "system",
    "user",
]
