"""The one table that turns an error into a gRPC status with a machine-readable reason."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import grpc
from google.protobuf import any_pb2, duration_pb2, message
from google.rpc import error_details_pb2, status_pb2
from google.rpc.error_details_pb2 import BadRequest

from weft.adapters import errors as adapters
from weft.server import errors as server

DOMAIN = "weft"
RETRY_S = 1.0
# What trailers may hold in all is 8 KiB in most clients, where details count as base64.
MAX_STATUS_BYTES = 4096
MAX_MESSAGE_BYTES = 512
MAX_FIELD_BYTES = 256


@dataclass(frozen=True, slots=True)
class Row:
    """Reason of the API, gRPC code, and after how many seconds a retry can help, if at all.

    An error whose metadata has a `retry_s` of its own knows better.
    """

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
    if issubclass(kind, server.RequestInvalid):
        field = metadata.get("field", "prompt")
        return kind((server.FieldViolation(field, text.removeprefix(f"{field}: ")),), **metadata)
    if issubclass(kind, adapters.Refused):
        return server.AdapterLoadFailed(text, **metadata)
    if issubclass(kind, adapters.AdapterError | server.ServerError):
        return kind(text, **metadata)
    return kind(text)


def status_of(error: Exception, *, error_id: str) -> status_pb2.Status:
    """Describe an error on the wire; what is unforeseen shows its id and nothing else.

    A status that lists violations says how many there are, and lists as many as fit.
    """
    row = row_of(error)
    metadata: dict[str, str] = getattr(error, "metadata", {})
    text = str(error)
    if row.reason == "INTERNAL":
        text, metadata = f"internal error {error_id}", {"error_id": error_id}
    violations = list(_violations(error))
    if violations:
        metadata = {**metadata, "violations_total": str(len(violations))}
    text = _shortened(text, MAX_MESSAGE_BYTES)
    info = error_details_pb2.ErrorInfo(
        reason=row.reason,
        domain=DOMAIN,
        metadata={key: _shortened(value, MAX_FIELD_BYTES) for key, value in metadata.items()},
    )
    status = status_pb2.Status(
        code=row.code.value[0],
        message=text,
        details=map(packed, [info, *_further_details(error, text)]),
    )
    if violations:
        _list_violations(status, violations)
    return status


def _further_details(error: Exception, text: str) -> Iterator[message.Message]:
    if isinstance(error, adapters.QuotaExceeded):
        violation = error_details_pb2.QuotaFailure.Violation(description=text)
        yield error_details_pb2.QuotaFailure(violations=[violation])
    if isinstance(error, adapters.NotFound):
        yield error_details_pb2.ResourceInfo(
            resource_type=type(error).__name__.removesuffix("NotFound").lower(),
            resource_name=_shortened(error.metadata.get("name", ""), MAX_FIELD_BYTES),
            description=text,
        )
    if (row_s := row_of(error).retry_s) is not None:
        retry_s = getattr(error, "metadata", {}).get("retry_s", row_s)
        delay = duration_pb2.Duration(nanos=0, seconds=int(retry_s))
        yield error_details_pb2.RetryInfo(retry_delay=delay)


def _violations(error: Exception) -> Iterator[BadRequest.FieldViolation]:
    """Field, description and (for an adapter) admission code of every violation."""
    if isinstance(error, server.RequestInvalid):
        for violation in error.violations:
            yield _violation(violation.field, violation.description)
    if isinstance(error, adapters.Refused | adapters.OptionsInvalid):
        for found in error.violations:
            description = f"found {found.found}, expected {found.expected}"
            yield _violation(found.path, description, code=found.code)


def _violation(field: str, description: str, *, code: str = "") -> BadRequest.FieldViolation:
    return BadRequest.FieldViolation(
        field=_shortened(field, MAX_FIELD_BYTES),
        description=_shortened(description, MAX_FIELD_BYTES),
        reason=code,
    )


def _list_violations(
    status: status_pb2.Status, violations: Iterable[BadRequest.FieldViolation]
) -> None:
    """Add those that leave the status within its size."""
    framing = 64  # of the detail, and of its type's name
    left = MAX_STATUS_BYTES - status.ByteSize() - framing
    listed = BadRequest()
    for violation in violations:
        left -= violation.ByteSize() + 4
        if left < 0:
            break
        listed.field_violations.append(violation)
    status.details.append(packed(listed))


def _shortened(text: str, max_bytes: int) -> str:
    """Cut a text to its beginning where it is too long for a status."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= max_bytes:
        return encoded.decode()
    return encoded[: max_bytes - 3].decode(errors="ignore") + "…"


def packed(detail: message.Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed
