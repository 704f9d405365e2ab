"""A small server of the real wire: it keeps what it is sent in memory and breaks when told to."""

import hashlib
import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NoReturn

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from weft.protos.v1 import adapters_pb2, inference_pb2, jobs_pb2, types_pb2
from weft.protos.v1.adapters_pb2_grpc import (
    AdapterServiceServicer,
    add_AdapterServiceServicer_to_server,
)
from weft.protos.v1.inference_pb2_grpc import (
    InferenceServiceServicer,
    add_InferenceServiceServicer_to_server,
)
from weft.protos.v1.jobs_pb2_grpc import JobServiceServicer, add_JobServiceServicer_to_server

CHUNK_BYTES = 1000
DIGEST = "sha256:" + "d" * 64


def failure(
    reason: str, code: grpc.StatusCode, message: str, *details: Message
) -> status_pb2.Status:
    info = error_details_pb2.ErrorInfo(reason=reason, domain="weft", metadata={"limit": "64"})
    packed = [any_pb2.Any() for _ in range(1 + len(details))]
    for one, detail in zip(packed, (info, *details), strict=True):
        one.Pack(detail)
    return status_pb2.Status(code=code.value[0], message=message, details=packed)


REFUSED = failure(
    "ADAPTER_REFUSED",
    grpc.StatusCode.FAILED_PRECONDITION,
    "rank 96 exceeds 64",
    error_details_pb2.BadRequest(
        field_violations=[
            error_details_pb2.BadRequest.FieldViolation(
                field="r", description="found 96, expected 64", reason="RANK_LIMIT"
            )
        ]
    ),
)
QUEUE_FULL = failure(
    "QUEUE_FULL",
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    "256 requests wait",
    error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=2)),
)
NO_ENGINE = failure("ENGINE_UNAVAILABLE", grpc.StatusCode.UNAVAILABLE, "the engine is away")
NO_MODEL = failure("MODEL_NOT_FOUND", grpc.StatusCode.NOT_FOUND, "no model 'nobody'")


@dataclass(slots=True)
class State:
    """What the services have seen, and where they are to break."""

    requests: list[Message] = field(default_factory=list)
    metadata: list[dict[str, str]] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    uploads: dict[str, bytearray] = field(default_factory=dict)
    page_size: int = 2
    break_upload_after: int | None = None
    broken_streams: int = 0
    corrupt: bool = False
    cancelled: threading.Event = field(default_factory=threading.Event)

    def seen(self, kind: type[Message]) -> list[Message]:
        return [request for request in self.requests if isinstance(request, kind)]

    def note(self, request: Message, context: grpc.ServicerContext) -> None:
        self.requests.append(request)
        self.metadata.append({key: str(value) for key, value in context.invocation_metadata()})

    def break_stream(self, context: grpc.ServicerContext) -> None:
        """Lose the connection, as often as was told."""
        if self.broken_streams:
            self.broken_streams -= 1
            fail(context, NO_ENGINE)


def fail(context: grpc.ServicerContext, status: status_pb2.Status) -> NoReturn:
    context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError("abort_with_status raises")


class Inference(InferenceServiceServicer):
    def __init__(self, state: State) -> None:
        self.state = state

    def Generate(
        self, request: inference_pb2.GenerateRequest, context: grpc.ServicerContext
    ) -> Iterator[inference_pb2.GenerateResponse]:
        self.state.note(request, context)
        response = inference_pb2.GenerateResponse
        for reference, status in {"nobody": NO_MODEL, "busy": QUEUE_FULL}.items():
            if request.model == reference:
                fail(context, status)
        yield response(
            resolved=types_pb2.ResolvedAdapter(model=f"{request.model}@7", digest=DIGEST)
        )
        if request.model == "endless":
            context.add_callback(self.state.cancelled.set)
            while context.is_active():
                yield response(chunk=inference_pb2.Chunk(text="on ", token_ids=[1]))
        words = request.text.split() or [m.content for m in request.chat.messages]
        for i, word in enumerate(words):
            yield response(chunk=inference_pb2.Chunk(text=f"{word} ", token_ids=[i]))
        if request.model == "breaks":
            fail(context, NO_ENGINE)
        reason = inference_pb2.FINISH_REASON_STOP
        yield response(finished=inference_pb2.Finished(reason=reason))
        yield response(usage=inference_pb2.Usage(generated_tokens=len(words), decode_ms=1))

    def Tokenize(
        self, request: inference_pb2.TokenizeRequest, context: grpc.ServicerContext
    ) -> inference_pb2.TokenizeResponse:
        text = request.text or "".join(m.content for m in request.chat.messages)
        return inference_pb2.TokenizeResponse(text=text, token_ids=list(text.encode()))

    def ListModels(
        self, request: inference_pb2.ListModelsRequest, context: grpc.ServicerContext
    ) -> inference_pb2.ListModelsResponse:
        self.state.note(request, context)
        names = ["base", "a", "b", "c", "d"]
        start = int(request.page_token or 0)
        end = start + self.state.page_size
        return inference_pb2.ListModelsResponse(
            models=[inference_pb2.Model(model=name) for name in names[start:end]],
            next_page_token=str(end) if end < len(names) else "",
        )

    def GetModel(
        self, request: inference_pb2.GetModelRequest, context: grpc.ServicerContext
    ) -> inference_pb2.GetModelResponse:
        if request.model == "nobody":
            fail(context, NO_MODEL)
        adapter = request.model.partition(":")[0]
        return inference_pb2.GetModelResponse(model=inference_pb2.Model(model=f"{adapter}@7"))


class Adapters(AdapterServiceServicer):
    def __init__(self, state: State) -> None:
        self.state = state

    def FindMissing(
        self, request: adapters_pb2.FindMissingRequest, context: grpc.ServicerContext
    ) -> adapters_pb2.FindMissingResponse:
        missing = [blob.digest for blob in request.blobs if blob.digest not in self.state.blobs]
        return adapters_pb2.FindMissingResponse(digests=missing)

    def CreateUpload(
        self, request: adapters_pb2.CreateUploadRequest, context: grpc.ServicerContext
    ) -> adapters_pb2.CreateUploadResponse:
        self.state.note(request, context)
        held = self.state.uploads.setdefault(request.digest, bytearray())
        return adapters_pb2.CreateUploadResponse(
            upload=adapters_pb2.Upload(
                upload=request.digest,
                digest=request.digest,
                size_bytes=request.size_bytes,
                committed_bytes=len(held),
                chunk_bytes=CHUNK_BYTES,
            )
        )

    def WriteUpload(
        self,
        requests: Iterator[adapters_pb2.WriteUploadRequest],
        context: grpc.ServicerContext,
    ) -> adapters_pb2.WriteUploadResponse:
        held = bytearray()
        for request in requests:
            self.state.requests.append(request)
            held = self.state.uploads[request.upload]
            if len(held) == self.state.break_upload_after:
                self.state.break_upload_after = None
                fail(context, NO_ENGINE)
            assert request.offset_bytes == len(held)
            held += request.data
        return adapters_pb2.WriteUploadResponse(committed_bytes=len(held))

    def CommitUpload(
        self, request: adapters_pb2.CommitUploadRequest, context: grpc.ServicerContext
    ) -> adapters_pb2.CommitUploadResponse:
        content = bytes(self.state.uploads.pop(request.upload))
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        assert digest == request.upload
        self.state.blobs[digest] = content
        return adapters_pb2.CommitUploadResponse(digest=digest, size_bytes=len(content))

    def PublishAdapter(
        self, request: adapters_pb2.PublishAdapterRequest, context: grpc.ServicerContext
    ) -> Iterator[adapters_pb2.PublishAdapterResponse]:
        self.state.note(request, context)
        if request.adapter == "refused":
            fail(context, REFUSED)
        response = adapters_pb2.PublishAdapterResponse
        for done in (False, True):
            yield response(
                progress=adapters_pb2.PublishProgress(
                    step=adapters_pb2.PUBLISH_STEP_CHECK, done=done
                )
            )
        self.state.break_stream(context)
        version = types_pb2.Version(
            name=f"adapters/{request.adapter}/versions/1",
            adapter=request.adapter,
            version=1,
            digest=DIGEST,
            aliases=[move.alias for move in request.aliases],
        )
        result = adapters_pb2.PublishResult(version=version, event_id="17-0")
        yield response(result=result)

    def DownloadFile(
        self, request: adapters_pb2.DownloadFileRequest, context: grpc.ServicerContext
    ) -> Iterator[adapters_pb2.DownloadFileResponse]:
        self.state.note(request, context)
        content = request.file.encode() * 1000
        yield adapters_pb2.DownloadFileResponse(
            file=adapters_pb2.FileInfo(
                file=request.file,
                digest=f"sha256:{hashlib.sha256(content).hexdigest()}",
                size_bytes=len(content),
                model="support@7",
            )
        )
        for start in range(0, len(content), CHUNK_BYTES):
            data = content[start : start + CHUNK_BYTES]
            yield adapters_pb2.DownloadFileResponse(data=data[::-1] if self.state.corrupt else data)

    def ListAdapters(
        self, request: adapters_pb2.ListAdaptersRequest, context: grpc.ServicerContext
    ) -> adapters_pb2.ListAdaptersResponse:
        alias = types_pb2.Alias(adapter="support", alias="latest", version=7, generation=3)
        adapter = types_pb2.Adapter(adapter="support", num_versions=7, aliases=[alias])
        return adapters_pb2.ListAdaptersResponse(adapters=[adapter])

    def GetVersion(
        self, request: adapters_pb2.GetVersionRequest, context: grpc.ServicerContext
    ) -> adapters_pb2.GetVersionResponse:
        self.state.note(request, context)
        version = types_pb2.Version(
            name=request.name, adapter="support", version=7, digest=DIGEST, max_rank=8
        )
        return adapters_pb2.GetVersionResponse(version=version)

    def SetAlias(
        self, request: adapters_pb2.SetAliasRequest, context: grpc.ServicerContext
    ) -> adapters_pb2.SetAliasResponse:
        self.state.note(request, context)
        alias = types_pb2.Alias(name=request.name, version=request.version, generation=4)
        return adapters_pb2.SetAliasResponse(alias=alias, event_id="18-0")

    def RetireVersion(
        self, request: adapters_pb2.RetireVersionRequest, context: grpc.ServicerContext
    ) -> adapters_pb2.RetireVersionResponse:
        self.state.note(request, context)
        version = types_pb2.Version(name=request.name, state=types_pb2.VERSION_STATE_RETIRED)
        return adapters_pb2.RetireVersionResponse(version=version, event_id="19-0")

    def ListVersions(
        self, request: adapters_pb2.ListVersionsRequest, context: grpc.ServicerContext
    ) -> adapters_pb2.ListVersionsResponse:
        version = types_pb2.Version(
            adapter=request.parent.removeprefix("adapters/"),
            version=7,
            digest=DIGEST,
            state=types_pb2.VERSION_STATE_PUBLISHED,
            max_rank=8,
            weights_bytes=1024,
            labels={"team": "a"},
        )
        return adapters_pb2.ListVersionsResponse(versions=[version])

    def RestoreVersion(
        self, request: adapters_pb2.RestoreVersionRequest, context: grpc.ServicerContext
    ) -> adapters_pb2.RestoreVersionResponse:
        return adapters_pb2.RestoreVersionResponse(event_id="21-0")

    def DeleteVersion(
        self, request: adapters_pb2.DeleteVersionRequest, context: grpc.ServicerContext
    ) -> adapters_pb2.DeleteVersionResponse:
        self.state.note(request, context)
        return adapters_pb2.DeleteVersionResponse(event_id="22-0")

    def DeleteAlias(
        self, request: adapters_pb2.DeleteAliasRequest, context: grpc.ServicerContext
    ) -> adapters_pb2.DeleteAliasResponse:
        return adapters_pb2.DeleteAliasResponse(event_id="23-0")

    def RollbackAlias(
        self, request: adapters_pb2.RollbackAliasRequest, context: grpc.ServicerContext
    ) -> adapters_pb2.RollbackAliasResponse:
        _, adapter, _, alias = request.name.split("/")
        moved = types_pb2.Alias(
            adapter=adapter, alias=alias, version=6, generation=5, previous_version=7
        )
        return adapters_pb2.RollbackAliasResponse(alias=moved, event_id="24-0")

    def ListAliases(
        self, request: adapters_pb2.ListAliasesRequest, context: grpc.ServicerContext
    ) -> adapters_pb2.ListAliasesResponse:
        alias = types_pb2.Alias(adapter="support", alias="latest", version=7, generation=3)
        return adapters_pb2.ListAliasesResponse(aliases=[alias])

    def WarmAdapter(
        self, request: adapters_pb2.WarmAdapterRequest, context: grpc.ServicerContext
    ) -> Iterator[adapters_pb2.WarmAdapterResponse]:
        self.state.note(request, context)
        resolved = types_pb2.ResolvedAdapter(model=f"{request.model}@7", digest=DIGEST)
        yield adapters_pb2.WarmAdapterResponse(resolved=resolved, tier=types_pb2.TIER_STORE)
        yield adapters_pb2.WarmAdapterResponse(tier=request.tier, elapsed_ms=12)

    def PinAdapter(
        self, request: adapters_pb2.PinAdapterRequest, context: grpc.ServicerContext
    ) -> adapters_pb2.PinAdapterResponse:
        self.state.note(request, context)
        return adapters_pb2.PinAdapterResponse(
            pin=adapters_pb2.Pin(digest=DIGEST, tier=request.tier)
        )

    def UnpinAdapter(
        self, request: adapters_pb2.UnpinAdapterRequest, context: grpc.ServicerContext
    ) -> adapters_pb2.UnpinAdapterResponse:
        self.state.note(request, context)
        return adapters_pb2.UnpinAdapterResponse()

    def ListResidency(
        self, request: adapters_pb2.ListResidencyRequest, context: grpc.ServicerContext
    ) -> adapters_pb2.ListResidencyResponse:
        self.state.note(request, context)
        found = adapters_pb2.Residency(
            digest=DIGEST,
            models=["support@7"],
            server="127.0.0.1:7700",
            tier=types_pb2.TIER_HOST,
            image_bytes=2048,
            pinned=not request.model,
        )
        return adapters_pb2.ListResidencyResponse(residency=[found])

    def WatchAdapters(
        self, request: adapters_pb2.WatchAdaptersRequest, context: grpc.ServicerContext
    ) -> Iterator[adapters_pb2.WatchAdaptersResponse]:
        self.state.note(request, context)
        for cursor in range(int(request.cursor or 0) + 1, 4):
            yield adapters_pb2.WatchAdaptersResponse(
                cursor=str(cursor), change=adapters_pb2.AdapterEvent(adapter="support")
            )
            self.state.break_stream(context)


class Jobs(JobServiceServicer):
    def __init__(self, state: State) -> None:
        self.state = state

    def CreateDataset(
        self, request: jobs_pb2.CreateDatasetRequest, context: grpc.ServicerContext
    ) -> jobs_pb2.CreateDatasetResponse:
        self.state.note(request, context)
        size = len(self.state.blobs[request.digest])
        dataset = jobs_pb2.Dataset(name="datasets/d1", digest=request.digest, size_bytes=size)
        return jobs_pb2.CreateDatasetResponse(dataset=dataset)

    def ListDatasets(
        self, request: jobs_pb2.ListDatasetsRequest, context: grpc.ServicerContext
    ) -> jobs_pb2.ListDatasetsResponse:
        dataset = jobs_pb2.Dataset(name="datasets/d1", digest=DIGEST, num_rows=3, size_bytes=9)
        return jobs_pb2.ListDatasetsResponse(datasets=[dataset])

    def CreateJob(
        self, request: jobs_pb2.CreateJobRequest, context: grpc.ServicerContext
    ) -> jobs_pb2.CreateJobResponse:
        self.state.note(request, context)
        job = jobs_pb2.Job(name="jobs/j1", spec=request.spec, state=jobs_pb2.JOB_STATE_VALIDATING)
        return jobs_pb2.CreateJobResponse(job=job)

    def GetJob(
        self, request: jobs_pb2.GetJobRequest, context: grpc.ServicerContext
    ) -> jobs_pb2.GetJobResponse:
        result = jobs_pb2.JobResult(publication=jobs_pb2.PUBLICATION_PUBLISHED, event_id="20-0")
        state = jobs_pb2.JOB_STATE_FAILED if request.name == "jobs/bad" else None
        job = jobs_pb2.Job(
            name=request.name, state=state or jobs_pb2.JOB_STATE_SUCCEEDED, result=result
        )
        if state:
            job.error.CopyFrom(REFUSED)
        return jobs_pb2.GetJobResponse(job=job)

    def ListJobs(
        self, request: jobs_pb2.ListJobsRequest, context: grpc.ServicerContext
    ) -> jobs_pb2.ListJobsResponse:
        self.state.note(request, context)
        job = jobs_pb2.Job(name="jobs/j1", state=jobs_pb2.JOB_STATE_RUNNING)
        return jobs_pb2.ListJobsResponse(jobs=[job])

    def CancelJob(
        self, request: jobs_pb2.CancelJobRequest, context: grpc.ServicerContext
    ) -> jobs_pb2.CancelJobResponse:
        job = jobs_pb2.Job(name=request.name, state=jobs_pb2.JOB_STATE_CANCELLED)
        return jobs_pb2.CancelJobResponse(job=job)

    def WatchJob(
        self, request: jobs_pb2.WatchJobRequest, context: grpc.ServicerContext
    ) -> Iterator[jobs_pb2.WatchJobResponse]:
        self.state.note(request, context)
        bad = request.name == "jobs/bad"
        last = jobs_pb2.JOB_STATE_FAILED if bad else jobs_pb2.JOB_STATE_SUCCEEDED
        events = [
            jobs_pb2.JobEvent(progress=jobs_pb2.JobProgress(step=1, num_steps=2, loss=2.0)),
            jobs_pb2.JobEvent(progress=jobs_pb2.JobProgress(step=2, num_steps=2, loss=1.0)),
            jobs_pb2.JobEvent(state=jobs_pb2.JobStateChanged(to=last)),
        ]
        for cursor in range(int(request.cursor or 0), len(events)):
            events[cursor].cursor = str(cursor + 1)
            yield jobs_pb2.WatchJobResponse(event=events[cursor])
            self.state.break_stream(context)


@contextmanager
def serving(state: State) -> Iterator[str]:
    """Run the three services, and answer their address."""
    server = grpc.server(futures.ThreadPoolExecutor(8))
    add_InferenceServiceServicer_to_server(Inference(state), server)
    add_AdapterServiceServicer_to_server(Adapters(state), server)
    add_JobServiceServicer_to_server(Jobs(state), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
