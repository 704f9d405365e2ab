"""The one table that turns an error into a gRPC status with a machine-readable reason."""

from collections.abc import Iterable
from dataclasses import dataclass

import grpc
from google.protobuf import any_pb2, duration_pb2, message
from google.rpc import error_details_pb2, status_pb2

from weft.adapters import errors as adapters
from weft.server import errors as server

DOMAIN = "weft"
RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class Row:
    """Reason of the API, gRPC code, and after how many seconds a retry can help, if at all."""

    reason: str
    code: grpc.StatusCode
    retry_s: float | None = None


TABLE: dict[type[Exception], Row] = {
    server.RequestInvalid: Row("REQUEST_INVALID", grpc.StatusCode.INVALID_ARGUMENT),
    adapters.OptionsInvalid: Row("REQUEST_INVALID", grpc.StatusCode.INVALID_ARGUMENT),
    server.PromptTooLong: Row("PROMPT_TOO_LONG", grpc.StatusCode.INVALID_ARGUMENT),
    adapters.TemplateFailed: Row("TEMPLATE_FAILED", grpc.StatusCode.INVALID_ARGUMENT),
    adapters.UploadDigest: Row("UPLOAD_DIGEST", grpc.StatusCode.INVALID_ARGUMENT),
    adapters.UploadOffset: Row("UPLOAD_OFFSET", grpc.StatusCode.OUT_OF_RANGE),
    adapters.UploadTaken: Row("UPLOAD_TAKEN", grpc.StatusCode.ABORTED),
    adapters.AliasConflict: Row("ALIAS_CONFLICT", grpc.StatusCode.ABORTED),
    adapters.EtagMismatch: Row("ETAG_MISMATCH", grpc.StatusCode.ABORTED),
    adapters.FenceLost: Row("FENCE_LOST", grpc.StatusCode.ABORTED),
    adapters.RequestConflict: Row("REQUEST_ID_REUSED", grpc.StatusCode.ALREADY_EXISTS),
    adapters.AlreadyExists: Row("ALREADY_EXISTS", grpc.StatusCode.ALREADY_EXISTS),
    server.CredentialsMissing: Row("CREDENTIALS_MISSING", grpc.StatusCode.UNAUTHENTICATED),
    server.CredentialsInvalid: Row("CREDENTIALS_INVALID", grpc.StatusCode.UNAUTHENTICATED),
    server.RoleRequired: Row("ROLE_REQUIRED", grpc.StatusCode.PERMISSION_DENIED),
    adapters.ModelNotFound: Row("MODEL_NOT_FOUND", grpc.StatusCode.NOT_FOUND),
    adapters.AdapterNotFound: Row("ADAPTER_NOT_FOUND", grpc.StatusCode.NOT_FOUND),
    adapters.VersionNotFound: Row("VERSION_NOT_FOUND", grpc.StatusCode.NOT_FOUND),
    adapters.AliasNotFound: Row("ALIAS_NOT_FOUND", grpc.StatusCode.NOT_FOUND),
    adapters.BlobNotFound: Row("BLOB_NOT_FOUND", grpc.StatusCode.NOT_FOUND),
    adapters.UploadNotFound: Row("UPLOAD_NOT_FOUND", grpc.StatusCode.NOT_FOUND),
    adapters.DatasetNotFound: Row("DATASET_NOT_FOUND", grpc.StatusCode.NOT_FOUND),
    adapters.JobNotFound: Row("JOB_NOT_FOUND", grpc.StatusCode.NOT_FOUND),
    adapters.Refused: Row("ADAPTER_REFUSED", grpc.StatusCode.FAILED_PRECONDITION),
    adapters.DatasetInvalid: Row("DATASET_INVALID", grpc.StatusCode.FAILED_PRECONDITION),
    adapters.VersionRetired: Row("VERSION_RETIRED", grpc.StatusCode.FAILED_PRECONDITION),
    adapters.VersionAliased: Row("VERSION_ALIASED", grpc.StatusCode.FAILED_PRECONDITION),
    adapters.VersionInUse: Row("VERSION_IN_USE", grpc.StatusCode.FAILED_PRECONDITION),
    adapters.BaseNotServed: Row("BASE_NOT_SERVED", grpc.StatusCode.FAILED_PRECONDITION),
    adapters.JobStateConflict: Row("JOB_STATE_CONFLICT", grpc.StatusCode.FAILED_PRECONDITION),
    server.QueueFull: Row("QUEUE_FULL", grpc.StatusCode.RESOURCE_EXHAUSTED, RETRY_S),
    server.RateLimited: Row("RATE_LIMITED", grpc.StatusCode.RESOURCE_EXHAUSTED, RETRY_S),
    adapters.QuotaExceeded: Row("QUOTA_EXCEEDED", grpc.StatusCode.RESOURCE_EXHAUSTED),
    adapters.StoreFull: Row("STORE_FULL", grpc.StatusCode.RESOURCE_EXHAUSTED),
    server.MessageTooLarge: Row("MESSAGE_TOO_LARGE", grpc.StatusCode.RESOURCE_EXHAUSTED),
    server.DeadlineExceeded: Row("DEADLINE_EXCEEDED", grpc.StatusCode.DEADLINE_EXCEEDED),
    server.Cancelled: Row("CANCELLED", grpc.StatusCode.CANCELLED),
    adapters.RegistryUnavailable: Row("REGISTRY_UNAVAILABLE", grpc.StatusCode.UNAVAILABLE, RETRY_S),
    adapters.StoreUnavailable: Row("STORE_UNAVAILABLE", grpc.StatusCode.UNAVAILABLE, RETRY_S),
    server.EngineUnavailable: Row("ENGINE_UNAVAILABLE", grpc.StatusCode.UNAVAILABLE, RETRY_S),
    server.ShuttingDown: Row("SHUTTING_DOWN", grpc.StatusCode.UNAVAILABLE, RETRY_S),
    server.AdapterLoadFailed: Row("ADAPTER_LOAD_FAILED", grpc.StatusCode.UNAVAILABLE, RETRY_S),
    adapters.ContentCorrupt: Row("CONTENT_CORRUPT", grpc.StatusCode.DATA_LOSS),
    adapters.Unsupported: Row("FEATURE_UNSUPPORTED", grpc.StatusCode.UNIMPLEMENTED),
    server.StepFailed: Row("STEP_FAILED", grpc.StatusCode.INTERNAL),
    Exception: Row("INTERNAL", grpc.StatusCode.INTERNAL),
}
BY_REASON = {row.reason: error for error, row in reversed(TABLE.items())}


def row_of(error: Exception) -> Row:
    """Find the row of the error's nearest class; Exception itself has the last."""
    return next(TABLE[kind] for kind in type(error).__mro__ if kind in TABLE)


def engine_error(reason: str, text: str, metadata: dict[str, str]) -> Exception:
    """Make the error that the engine named by its reason."""
    kind = BY_REASON[reason]
    if issubclass(kind, adapters.AdapterError | server.ServerError):
        return kind(text, **metadata)
    return kind(text)


def status_of(error: Exception, *, error_id: str) -> status_pb2.Status:
    """Describe an error on the wire; what is unforeseen shows its id and nothing else."""
    row = row_of(error)
    metadata: dict[str, str] = getattr(error, "metadata", {})
    text = str(error)
    if row.reason == "INTERNAL":
        text, metadata = f"internal error {error_id}", {"error_id": error_id}
    details: list[message.Message] = [
        error_details_pb2.ErrorInfo(reason=row.reason, domain=DOMAIN, metadata=metadata)
    ]
    if isinstance(error, server.RequestInvalid):
        details.append(
            _bad_request((found.field, found.description, "") for found in error.violations)
        )
    if isinstance(error, adapters.Refused):
        details.append(
            _bad_request(
                (found.path, f"found {found.found}, expected {found.expected}", found.code)
                for found in error.violations
            )
        )
    if isinstance(error, adapters.QuotaExceeded):
        violation = error_details_pb2.QuotaFailure.Violation(description=text)
        details.append(error_details_pb2.QuotaFailure(violations=[violation]))
    if isinstance(error, adapters.NotFound):
        details.append(
            error_details_pb2.ResourceInfo(
                resource_type=type(error).__name__.removesuffix("NotFound").lower(),
                resource_name=metadata.get("name", ""),
                description=text,
            )
        )
    if row.retry_s is not None:
        delay = duration_pb2.Duration(nanos=0, seconds=int(row.retry_s))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    return status_pb2.Status(code=row.code.value[0], message=text, details=map(packed, details))


def _bad_request(violations: Iterable[tuple[str, str, str]]) -> error_details_pb2.BadRequest:
    """Field, description and (for an adapter) admission code of every violation that fits."""
    return error_details_pb2.BadRequest(
        field_violations=[
            error_details_pb2.BadRequest.FieldViolation(
                field=field, description=description, reason=code
            )
            for field, description, code in violations
        ]
    )


def packed(detail: message.Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed
