"""A client of its own: grpcio, protobuf and the server's reflection, and nothing of Weft.

plain_client.py ADDRESS NAME FOLDER publishes the adapter in FOLDER as NAME, streams from it and
from the base, and writes what it saw as JSON.
"""

import base64
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

Json = dict[str, object]
FILES = ("adapter_config.json", "adapter_model.safetensors")


class Plain:
    """Calls any method by name; messages are their JSON form, as protobuf maps it."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        self.database = ProtoReflectionDescriptorDatabase(channel)
        self._pool = DescriptorPool(self.database)

    def call(self, method: str, *requests: Json) -> Iterator[Json]:
        """Call `Service/Method`; on the wire a single message is a stream of one."""
        service, _, name = method.partition("/")
        found = self._pool.FindServiceByName(f"weft.v1.{service}").FindMethodByName(name)
        question, answer = (GetMessageClass(kind) for kind in (found.input_type, found.output_type))
        multi = self._channel.stream_stream(
            f"/weft.v1.{method}",
            request_serializer=question.SerializeToString,
            response_deserializer=answer.FromString,
        )
        messages = [json_format.ParseDict(request, question()) for request in requests]
        for response in multi(iter(messages), timeout=60):
            yield json_format.MessageToDict(response, preserving_proto_field_name=True)

    def ask(self, method: str, **request: object) -> Json:
        """Make a call that is answered by one message."""
        [answer] = self.call(method, request)
        return answer


def upload(plain: Plain, path: Path) -> str:
    """Upload a file and answer its digest."""
    data = path.read_bytes()
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    opened = plain.ask("AdapterService/CreateUpload", digest=digest, size_bytes=len(data))
    found = opened["upload"]
    assert isinstance(found, dict)
    name, size = found["upload"], int(found["chunk_bytes"])
    chunks: list[Json] = [
        {
            "upload": name,
            "offset_bytes": at,
            "data": base64.b64encode(data[at : at + size]).decode(),
        }
        for at in range(0, len(data), size)
    ]
    list(plain.call("AdapterService/WriteUpload", *chunks))
    plain.ask("AdapterService/CommitUpload", upload=name)
    return digest


def publish(plain: Plain, name: str, folder: Path) -> Json:
    """Upload the files of an adapter and publish them; answers the last message of the stream."""
    config, weights = (upload(plain, folder / file) for file in FILES)
    request: Json = {
        "adapter": name,
        "config_digest": config,
        "weights_digest": weights,
        "assert_base": True,
    }
    *_, last = plain.call("AdapterService/PublishAdapter", request)
    return last


def generate(plain: Plain, model: str) -> list[Json]:
    request: Json = {
        "model": model,
        "text": "the quick",
        "sampling": {"temperature": 0},
        "stopping": {"max_tokens": 8, "ignore_end_token": True},
    }
    return list(plain.call("InferenceService/Generate", request))


def adapters(plain: Plain) -> Iterable[str]:
    listed = plain.ask("AdapterService/ListAdapters", page_size=1000).get("adapters", [])
    assert isinstance(listed, list)
    return [adapter["name"] for adapter in listed]


def main(address: str, name: str, folder: str) -> None:
    with grpc.insecure_channel(address) as channel:
        plain = Plain(channel)
        seen = {
            "services": list(plain.database.get_services()),
            "before": adapters(plain),
            "published": publish(plain, name, Path(folder)),
            "after": adapters(plain),
            "adapted": generate(plain, name),
            "base": generate(plain, "base"),
        }
    json.dump(seen, sys.stdout)


if __name__ == "__main__":
    sys.modules["weft"] = None  # type: ignore[assignment]  # importing it is an error from here on
    main(*sys.argv[1:])
