"""The contract is whole: every service and reason, and room for what comes later."""

from weft.protos.v1 import (
    adapters_pb2,
    admin_pb2,
    errors_pb2,
    inference_pb2,
    jobs_pb2,
)

STREAMED_ANSWERS = {
    "Generate",
    "PublishAdapter",
    "DownloadFile",
    "WatchAdapters",
    "WarmAdapter",
    "WatchJob",
    "VerifyStore",
}
METHODS = {
    "InferenceService": "Generate Tokenize ListModels GetModel",
    "AdapterService": "FindMissing CreateUpload WriteUpload GetUpload CommitUpload PublishAdapter "
    "CheckAdapter DownloadFile GetAdapter ListAdapters UpdateAdapter DeleteAdapter GetVersion "
    "ListVersions RetireVersion RestoreVersion DeleteVersion SetAlias DeleteAlias RollbackAlias "
    "ListAliases ListAuditEvents WatchAdapters WarmAdapter PinAdapter UnpinAdapter ListResidency",
    "JobService": "CheckDataset CreateDataset GetDataset ListDatasets DeleteDataset GetReport "
    "CreateJob EstimateJob GetJob ListJobs StartJob PauseJob ResumeJob CancelJob DeleteJob "
    "WatchJob ListCheckpoints PublishCheckpoint",
    "AdminService": "GetTenant ListTenants UpdateTenant CreateApiKey ListApiKeys RevokeApiKey "
    "CollectGarbage VerifyStore DrainServer GetServerInfo",
}
REASONS = (
    "REQUEST_INVALID PROMPT_TOO_LONG TEMPLATE_FAILED UPLOAD_DIGEST UPLOAD_OFFSET UPLOAD_TAKEN "
    "ALIAS_CONFLICT ETAG_MISMATCH FENCE_LOST REQUEST_ID_REUSED ALREADY_EXISTS CREDENTIALS_MISSING "
    "CREDENTIALS_INVALID ROLE_REQUIRED MODEL_NOT_FOUND ADAPTER_NOT_FOUND VERSION_NOT_FOUND "
    "ALIAS_NOT_FOUND BLOB_NOT_FOUND UPLOAD_NOT_FOUND DATASET_NOT_FOUND JOB_NOT_FOUND "
    "ADAPTER_REFUSED DATASET_INVALID VERSION_RETIRED VERSION_ALIASED VERSION_IN_USE "
    "BASE_NOT_SERVED JOB_STATE_CONFLICT QUEUE_FULL RATE_LIMITED QUOTA_EXCEEDED STORE_FULL "
    "MESSAGE_TOO_LARGE DEADLINE_EXCEEDED CANCELLED REGISTRY_UNAVAILABLE STORE_UNAVAILABLE "
    "ENGINE_UNAVAILABLE SHUTTING_DOWN ADAPTER_LOAD_FAILED CONTENT_CORRUPT "
    "FEATURE_UNSUPPORTED STEP_FAILED INTERNAL"
)


def test_services_have_every_call() -> None:
    services = {
        name: " ".join(service.methods_by_name)
        for file in (inference_pb2, adapters_pb2, jobs_pb2, admin_pb2)
        for name, service in file.DESCRIPTOR.services_by_name.items()
    }
    assert services == METHODS


def test_only_long_answers_are_streamed() -> None:
    methods = [
        method
        for file in (inference_pb2, adapters_pb2, jobs_pb2, admin_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    ]
    assert {method.name for method in methods if method.server_streaming} == STREAMED_ANSWERS
    assert {method.name for method in methods if method.client_streaming} == {"WriteUpload"}


def test_every_reason_is_in_the_enum() -> None:
    names = errors_pb2.ErrorReason.DESCRIPTOR.values_by_name
    declared = " ".join(name.removeprefix("ERROR_REASON_") for name in names)
    assert declared == f"UNSPECIFIED {REASONS}"


def test_zero_can_be_told_from_absent_where_it_means_something() -> None:
    sampling = inference_pb2.Sampling(temperature=0, seed=0)
    assert sampling.HasField("temperature")
    assert sampling.HasField("seed")
    assert not sampling.HasField("top_p")
    alias = adapters_pb2.SetAliasRequest(expected_generation=0)
    assert alias.HasField("expected_generation")


def test_what_is_declared_for_later_has_its_place() -> None:
    fields = inference_pb2.GenerateRequest.DESCRIPTOR.fields_by_name
    assert {"constraint", "num_beams", "adapters", "prompt_logprobs"} <= set(fields)
    assert "min_tokens" in inference_pb2.Stopping.DESCRIPTOR.fields_by_name


def test_a_job_is_described_as_it_was_asked_and_as_it_was_understood() -> None:
    fields = jobs_pb2.Job.DESCRIPTOR.fields_by_name
    assert fields["spec"].message_type is fields["resolved"].message_type
