"""What a failed call says.

WeftError       every failure, with its reason, figures and violations
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple, cast

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status


class FieldViolation(NamedTuple):
    """One thing wrong with a request or an adapter: where, what, and admission's code for it."""

    field: str
    description: str
    code: str


class WeftError(Exception):
    """A failed call.

    Attributes:
        reason: Name of an ErrorReason; where the server gave none, the name of `code`.
        metadata: Figures of the failure, by name.
        violations: Everything that is wrong with the request.
        retry_after_s: When a retry can help; None where the server does not say.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        code: grpc.StatusCode,
        metadata: Mapping[str, str] | None = None,
        violations: tuple[FieldViolation, ...] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.code = code
        self.metadata = dict(metadata or {})
        self.violations = violations
        self.retry_after_s = retry_after_s

    @property
    def is_transient(self) -> bool:
        """The same again can succeed, from where things stand by then."""
        return self.code is grpc.StatusCode.UNAVAILABLE or self.reason == "UPLOAD_OFFSET"


def error_of_status(status: status_pb2.Status) -> WeftError:
    """Read a status, of a call or of a job."""
    code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
    info = error_details_pb2.ErrorInfo(reason=code.name)
    bad, retry = error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    for detail in status.details:
        for known in (info, bad, retry):
            detail.Unpack(known)
    return WeftError(
        status.message,
        reason=info.reason,
        code=code,
        metadata=info.metadata,
        violations=tuple(
            FieldViolation(found.field, found.description, found.reason)
            for found in bad.field_violations
        ),
        retry_after_s=(
            retry.retry_delay.ToTimedelta().total_seconds()
            if retry.HasField("retry_delay")
            else None
        ),
    )


@contextmanager
def weft_errors() -> Iterator[None]:
    """Turn what gRPC raises into what it means."""
    try:
        yield
    except grpc.RpcError as error:
        # On both kinds of channel what is raised is, or acts as, the call that failed.
        call = cast(grpc.Call, error)
        status = _status_of(call)
        if status is None:
            status = status_pb2.Status(code=call.code().value[0], message=call.details())
        raise error_of_status(status) from error


def _status_of(call: grpc.Call) -> status_pb2.Status | None:
    """Read the server's status; None without one, or when the call ended otherwise meanwhile."""
    try:
        return rpc_status.from_call(call)
    except ValueError:
        return None
