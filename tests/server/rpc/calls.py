"""What the tests of the running server share: requests, refusals, figures."""

import hashlib
import time
import urllib.request
from collections.abc import Callable, Iterator

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from weft.client import Client, Sampling, Stopping, WeftError
from weft.client.errors import weft_errors
from weft.protos.v1 import adapters_pb2, adapters_pb2_grpc, inference_pb2
from weft.server.child import Server

GREEDY = Sampling(temperature=0)
PROMPT = "the quick brown fox"


def refusal(reason: str) -> pytest.RaisesExc[WeftError]:
    """Expect a call to fail for this reason."""
    return pytest.raises(WeftError, check=lambda error: error.reason == reason)


def generate_request(
    model: str = "base", *, max_tokens: int = 8, **fields: object
) -> inference_pb2.GenerateRequest:
    """Ask for a greedy completion of the prompt, unless a field says otherwise."""
    defaults: dict[str, object] = {
        "text": PROMPT,
        "sampling": GREEDY,
        "stopping": Stopping(max_tokens=max_tokens),
    }
    if {"chat", "tokens"} & fields.keys():
        del defaults["text"]
    return inference_pb2.GenerateRequest(model=model, **(defaults | fields))  # type: ignore[arg-type]


def events(
    weft: Client, request: inference_pb2.GenerateRequest
) -> list[inference_pb2.GenerateResponse]:
    """All messages of one stream."""
    return list(weft.stream(request, inference_pb2.GenerateResponse))


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def create_upload(weft: Client, data: bytes, *, digest: str | None = None) -> adapters_pb2.Upload:
    """Open an upload for these bytes."""
    request = adapters_pb2.CreateUploadRequest(
        digest=digest or digest_of(data), size_bytes=len(data)
    )
    return weft.call(request, adapters_pb2.CreateUploadResponse).upload


def write_upload(address: str, upload: str, *pieces: tuple[int, bytes]) -> int:
    """Write pieces at their offsets in one call; answer the bytes that are stored."""
    return write_requests(
        address,
        (
            adapters_pb2.WriteUploadRequest(upload=upload, offset_bytes=offset, data=data)
            for offset, data in pieces
        ),
    )


def write_requests(address: str, requests: Iterator[adapters_pb2.WriteUploadRequest]) -> int:
    """Make one call to write; answer the bytes that are stored."""
    with grpc.insecure_channel(address) as channel, weft_errors():
        stub = adapters_pb2_grpc.AdapterServiceStub(channel)
        return int(stub.WriteUpload(requests).committed_bytes)


def commit_upload(weft: Client, upload: str) -> str:
    request = adapters_pb2.CommitUploadRequest(upload=upload)
    return weft.call(request, adapters_pb2.CommitUploadResponse).digest


def send(weft: Client, address: str, data: bytes) -> str:
    """Upload bytes whole; answer their digest."""
    upload = create_upload(weft, data).upload
    write_upload(address, upload, (0, data))
    return commit_upload(weft, upload)


Figures = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read_figures(server: Server) -> Figures:
    """Every sample that the metrics port serves, by name and labels."""
    with urllib.request.urlopen(f"http://{server.metrics}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def figure(figures: Figures, name: str, **labels: str) -> float:
    """Sum of the samples of a name that have these labels."""
    wanted = set(labels.items())
    return sum(
        value for (found, has), value in figures.items() if found == name and wanted <= set(has)
    )


def await_figures(
    server: Server, holds: Callable[[Figures], bool], *, timeout_s: float = 20
) -> Figures:
    """Read figures until they are as expected; they arrive about once a second."""
    deadline = time.monotonic() + timeout_s
    while not holds(figures := read_figures(server)):
        assert time.monotonic() < deadline, figures
        time.sleep(0.05)
    return figures
