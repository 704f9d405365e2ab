"""What every call passes: a small service behind the border, and a running server with keys."""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import cast

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from tests.running import running_server
from weft.adapters.errors import AliasConflict
from weft.client import AsyncClient, Client, Sampling, Stopping
from weft.protos.v1 import (
    adapters_pb2,
    adapters_pb2_grpc,
    admin_pb2,
    inference_pb2,
    inference_pb2_grpc,
)
from weft.server.child import Server
from weft.server.errors import FieldViolation, RequestInvalid
from weft.server.rpc.auth import CALLER, KeyFile
from weft.server.rpc.border import Border, Context, required_role

from .calls import create_upload, generate_request, refusal, write_upload

KEYS = {
    "weft_alice": "acme infer,publish,train alice",
    "weft_reader": "acme infer reader",
    "weft_bob": "other infer,publish,train bob",
    "weft_root": "acme admin root",
}
MANY = 500


def write_keys(path: Path) -> Path:
    path.write_text(
        "".join(f"{hashlib.sha256(k.encode()).hexdigest()} {rest}\n" for k, rest in KEYS.items())
    )
    return path


class Breaking(inference_pb2_grpc.InferenceServiceServicer):
    """Goes wrong as the reference says."""

    def __init__(self) -> None:
        self.waits = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.open_streams = 0

    async def GetModel(
        self, request: inference_pb2.GetModelRequest, context: Context
    ) -> inference_pb2.GetModelResponse:
        match request.model:
            case "conflict":
                raise AliasConflict("moved", generation=3)
            case "unforeseen":
                raise KeyError("/secret/path")
            case "forever":
                await self._wait()
            case "many":
                violations = [FieldViolation(f"field{i}", "x" * 1000) for i in range(MANY)]
                raise RequestInvalid(tuple(violations))
        return inference_pb2.GetModelResponse(model=inference_pb2.Model(model=CALLER.get().tenant))

    async def Generate(
        self, request: inference_pb2.GenerateRequest, context: Context
    ) -> AsyncIterator[inference_pb2.GenerateResponse]:
        yield inference_pb2.GenerateResponse()
        if request.model == "babble":
            self.open_streams += 1
            try:
                while True:
                    yield inference_pb2.GenerateResponse()
            finally:
                self.open_streams -= 1
        if request.model == "forever":
            await self._wait()
        raise KeyError("/secret/path")

    async def _wait(self) -> None:
        self.waits.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()


class Watched(adapters_pb2_grpc.AdapterServiceServicer):
    """Has one change to tell, and then none for ever."""

    async def WatchAdapters(
        self, request: adapters_pb2.WatchAdaptersRequest, context: Context
    ) -> AsyncIterator[adapters_pb2.WatchAdaptersResponse]:
        yield adapters_pb2.WatchAdaptersResponse(cursor="1-0")
        await asyncio.Event().wait()


@pytest.fixture
def service() -> Breaking:
    return Breaking()


@pytest.fixture
def border(tmp_path: Path) -> Border:
    """It has keys, and limits calls to 0.3 s."""
    return Border(KeyFile(write_keys(tmp_path / "keys")), max_request_s=0.3)


@pytest.fixture
async def weft(service: Breaking, border: Border) -> AsyncIterator[AsyncClient]:
    """A client with alice's key."""
    server = grpc.aio.server(interceptors=[border])
    inference_pb2_grpc.add_InferenceServiceServicer_to_server(service, server)
    adapters_pb2_grpc.add_AdapterServiceServicer_to_server(Watched(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with AsyncClient(f"127.0.0.1:{port}", api_key="weft_alice") as client:
        yield client
    await server.stop(None)


async def test_a_call_knows_its_caller(weft: AsyncClient) -> None:
    assert (await weft.model("x")).model == "acme"


async def test_an_error_becomes_its_status(weft: AsyncClient) -> None:
    with refusal("ALIAS_CONFLICT") as caught:
        await weft.model("conflict")
    assert (caught.value.code, caught.value.metadata) == (
        grpc.StatusCode.ABORTED,
        {"generation": "3"},
    )


async def test_what_is_unforeseen_is_in_the_log_and_its_id_on_the_wire(
    weft: AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    for calling in (weft.model("unforeseen"), weft.complete("x", text="x")):
        caplog.clear()
        with caplog.at_level(logging.ERROR), refusal("INTERNAL") as caught:
            await calling
        assert "secret" not in str(caught.value)
        [record] = caplog.records
        assert caught.value.metadata["error_id"] in record.getMessage()
        assert record.exc_info is not None


async def test_a_call_ends_at_the_servers_limit(weft: AsyncClient, service: Breaking) -> None:
    with refusal("DEADLINE_EXCEEDED"):
        await weft.model("forever")
    assert service.cancelled.is_set()


async def test_a_cancelled_stream_cancels_its_handler(weft: AsyncClient, service: Breaking) -> None:
    request = generate_request("forever")
    stream = weft.stream(request, inference_pb2.GenerateResponse)
    await anext(stream)
    async with asyncio.timeout(10):
        await service.waits.wait()
        await stream.aclose()
        await service.cancelled.wait()


class Left:
    """The context of a call whose caller's deadline passed while its error was on its way."""

    peer = staticmethod(lambda: "ipv4:127.0.0.1:1")
    invocation_metadata = staticmethod(lambda: (("authorization", "Bearer weft_alice"),))
    time_remaining = staticmethod(lambda: 1.0)

    async def abort_with_status(self, status: object) -> None:
        raise grpc.aio.InternalError


async def test_a_call_whose_caller_has_gone_is_cancelled(border: Border) -> None:
    """gRPC writes the traceback of any other error, as if the server had failed."""

    async def moved(request: object, context: Context) -> inference_pb2.GetModelResponse:
        raise AliasConflict("moved", generation=3)

    handle = border._unary("/weft.v1.InferenceService/GetModel", moved)
    with pytest.raises(asyncio.CancelledError):
        await handle(inference_pb2.GetModelRequest(), cast("Context", Left()))


async def test_streams_that_are_cancelled_at_any_moment_are_cleaned_up(
    weft: AsyncClient, service: Breaking
) -> None:
    request = generate_request("babble")
    async with asyncio.timeout(20):
        for _ in range(20):
            stream = weft.stream(request, inference_pb2.GenerateResponse)
            await anext(stream)
            await stream.aclose()
        while service.open_streams:
            await asyncio.sleep(0.01)


async def test_watches_end_when_the_server_stops(weft: AsyncClient, border: Border) -> None:
    request = adapters_pb2.WatchAdaptersRequest()
    watch = weft.stream(request, adapters_pb2.WatchAdaptersResponse)
    assert (await anext(watch)).cursor == "1-0"
    border.end_watches()
    with refusal("SHUTTING_DOWN") as caught:
        await anext(watch)
    assert caught.value.is_transient
    assert caught.value.retry_after_s == 1


async def test_hundreds_of_violations_arrive_as_far_as_they_fit(weft: AsyncClient) -> None:
    with refusal("REQUEST_INVALID") as caught:
        await weft.model("many")
    assert caught.value.metadata["violations_total"] == str(MANY)
    listed = [violation.field for violation in caught.value.violations]
    assert 5 < len(listed) < MANY
    assert listed == [f"field{i}" for i in range(len(listed))]


async def test_what_a_service_does_not_override_is_refused_by_name(weft: AsyncClient) -> None:
    with refusal("FEATURE_UNSUPPORTED") as caught:
        await weft.tokenize("x", text="x")
    assert caught.value.metadata == {"field": "Tokenize"}


@pytest.mark.parametrize(
    ("method", "role"),
    [
        ("InferenceService/Generate", "infer"),
        ("InferenceService/Tokenize", "infer"),
        ("InferenceService/ListModels", None),
        ("AdapterService/PublishAdapter", "publish"),
        ("AdapterService/WriteUpload", "publish"),
        ("AdapterService/SetAlias", "publish"),
        ("AdapterService/WatchAdapters", None),
        ("JobService/CreateJob", "train"),
        ("JobService/GetJob", None),
        ("AdminService/ListApiKeys", "admin"),
        ("AdminService/CreateApiKey", "admin"),
    ],
)
def test_reading_needs_no_role_and_administration_always_does(
    method: str, role: str | None
) -> None:
    assert required_role(f"/weft.v1.{method}") == role


@pytest.mark.parametrize("name", ["CreateApiKey", "DrainServer"])
def test_a_call_that_is_declared_only_is_refused_by_name(server: Server, name: str) -> None:
    request, answer = getattr(admin_pb2, f"{name}Request"), getattr(admin_pb2, f"{name}Response")
    with Client(server.address) as weft, refusal("FEATURE_UNSUPPORTED") as caught:
        weft.call(request(), answer)
    assert caught.value.metadata == {"field": name}
    assert caught.value.code is grpc.StatusCode.UNIMPLEMENTED


def test_a_stream_that_is_declared_only_is_refused_by_name(server: Server) -> None:
    request, answer = admin_pb2.VerifyStoreRequest, admin_pb2.VerifyStoreResponse
    with Client(server.address) as weft, refusal("FEATURE_UNSUPPORTED") as caught:
        list(weft.stream(request(), answer))
    assert caught.value.metadata == {"field": "VerifyStore"}


def test_a_message_above_the_cap_is_refused(server: Server) -> None:
    request = inference_pb2.GetModelRequest(model="x" * (4 * 1024**2 + 1))
    with grpc.insecure_channel(
        server.address, options=[("grpc.max_send_message_length", -1)]
    ) as channel:
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetModel(request, timeout=10)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.fixture(scope="module")
def guarded(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server with keys."""
    folder = tmp_path_factory.mktemp("guarded")
    keys = write_keys(folder / "keys")
    with running_server(
        tiny_llama,
        folder / "data",
        *("--api-keys", str(keys), "--response-cache-bytes", "65536"),
        *("--no-worker", "--log-format", "json"),
    ) as running:
        yield running


def as_key(server: Server, key: str | None) -> Client:
    return Client(server.address, api_key=key)


def test_without_a_key_nothing_is_served(guarded: Server) -> None:
    with as_key(guarded, None) as weft:
        with refusal("CREDENTIALS_MISSING") as caught:
            weft.models()
        with refusal("CREDENTIALS_MISSING"):
            weft.complete("base", text="x")
        with refusal("CREDENTIALS_MISSING"):
            write_upload(guarded.address, "x", (0, b"x"))
    assert caught.value.code is grpc.StatusCode.UNAUTHENTICATED


def test_an_unknown_key_is_turned_away(guarded: Server) -> None:
    with as_key(guarded, "weft_nobody") as weft, refusal("CREDENTIALS_INVALID") as caught:
        weft.models()
    assert "weft_nobody" not in str(caught.value)


def test_a_role_that_is_missing_is_named(guarded: Server, folders: list[Path]) -> None:
    with as_key(guarded, "weft_reader") as weft:
        assert next(model.model for model in weft.models()) == "base"
        weft.complete("base", text="x", stopping=Stopping(max_tokens=1))
        with refusal("ROLE_REQUIRED") as caught:
            create_upload(weft, b"x")
        assert caught.value.code is grpc.StatusCode.PERMISSION_DENIED
        assert caught.value.metadata == {"role": "publish"}
        with refusal("ROLE_REQUIRED"):
            weft.call(admin_pb2.ListApiKeysRequest(), admin_pb2.ListApiKeysResponse)
    with as_key(guarded, "weft_root") as weft, refusal("FEATURE_UNSUPPORTED"):
        weft.call(admin_pb2.ListApiKeysRequest(), admin_pb2.ListApiKeysResponse)


def test_what_is_another_tenants_is_not_found(
    guarded: Server, folders: list[Path], name: str
) -> None:
    with as_key(guarded, "weft_alice") as alice, as_key(guarded, "weft_bob") as bob:
        version = alice.publish(name, folders[0], aliases=["prod"], assert_base=True)
        assert version.provenance.publisher == "alice"
        for reference in (name, f"{name}:prod", f"{name}@1", version.digest):
            alice.complete(reference, text="x", stopping=Stopping(max_tokens=1))
            with refusal("MODEL_NOT_FOUND"):
                bob.complete(reference, text="x", stopping=Stopping(max_tokens=1))
        assert name not in [adapter.adapter for adapter in bob.adapters()]
        assert f"{name}@1" not in [model.model for model in bob.models(all_versions=True)]
        with refusal("VERSION_NOT_FOUND"):
            bob.version(f"{name}@1")
        with refusal("ADAPTER_NOT_FOUND"):
            bob.aliases(name)
        with refusal("BLOB_NOT_FOUND"):
            request = adapters_pb2.PublishAdapterRequest(
                adapter=name,
                config_digest=version.config_digest,
                weights_digest=version.weights_digest,
            )
            list(bob.stream(request, adapters_pb2.PublishAdapterResponse))
        upload = create_upload(alice, b"alice's").upload
        with refusal("UPLOAD_NOT_FOUND"):
            bob.call(adapters_pb2.GetUploadRequest(upload=upload), adapters_pb2.GetUploadResponse)
        with refusal("VERSION_NOT_FOUND"):
            bob.set_alias(name, "prod", 1)
        first = bob.publish(name, folders[1], assert_base=True)
        assert first.version == 1
        assert alice.model(name).digest == version.digest


def test_an_answer_is_kept_for_the_same_request_of_the_same_tenant(guarded: Server) -> None:
    greedy, short = Sampling(temperature=0), Stopping(max_tokens=5)
    with as_key(guarded, "weft_alice") as alice, as_key(guarded, "weft_bob") as bob:
        answers = [
            weft.complete("base", text="a question", sampling=greedy, stopping=short, n=2)
            for weft in (alice, alice, bob)
        ]
        drawn = [alice.complete("base", text="a question", stopping=short) for _ in range(2)]
    found = [answer.usage for answer in (*answers, *drawn)]
    assert all(usage is not None for usage in found)
    kept = [usage.from_response_cache for usage in found if usage is not None]
    assert kept == [False, True, False, False, False]
    assert answers[0].completions == answers[1].completions == answers[2].completions
    assert answers[0].resolved is not None
    assert answers[1].resolved is not None
    assert answers[0].resolved.digest == answers[1].resolved.digest


def test_health_and_reflection_are_open_to_everybody(guarded: Server) -> None:
    with grpc.insecure_channel(guarded.address) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            health_pb2.HealthCheckRequest.SerializeToString,
            health_pb2.HealthCheckResponse.FromString,
        )
        for service in ("", "weft.v1.InferenceService", "weft.v1.AdapterService"):
            answer = check(health_pb2.HealthCheckRequest(service=service), timeout=5)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        reflect = channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            reflection_pb2.ServerReflectionRequest.SerializeToString,
            reflection_pb2.ServerReflectionResponse.FromString,
        )
        asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        [listed] = reflect(asked, timeout=5)
    names = {service.name for service in listed.list_services_response.service}
    assert {"weft.v1.InferenceService", "weft.v1.AdapterService", "weft.v1.JobService"} <= names


def test_no_key_is_in_the_log(guarded: Server) -> None:
    with as_key(guarded, "weft_alice") as weft:
        weft.models()
    log = guarded.log.read_text()
    assert not [key for key in [*KEYS, "weft_nobody"] if key in log]
