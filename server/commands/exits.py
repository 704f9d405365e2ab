"""What the exit code of `weft` says."""

from enum import IntEnum

import grpc


class Exit(IntEnum):
    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    UNAVAILABLE = 5
    NOT_ALLOWED = 6
    REFUSED = 7
    LIMIT = 8
    JOB_ENDED = 9
    INTERRUPTED = 130


BY_REASON = {
    "ADAPTER_REFUSED": Exit.REFUSED,
    "DATASET_INVALID": Exit.REFUSED,
    "FEATURE_UNSUPPORTED": Exit.REFUSED,
}
BY_CODE = {
    grpc.StatusCode.INVALID_ARGUMENT: Exit.REFUSED,
    grpc.StatusCode.NOT_FOUND: Exit.NOT_FOUND,
    grpc.StatusCode.ABORTED: Exit.CONFLICT,
    grpc.StatusCode.ALREADY_EXISTS: Exit.CONFLICT,
    grpc.StatusCode.FAILED_PRECONDITION: Exit.CONFLICT,
    grpc.StatusCode.OUT_OF_RANGE: Exit.CONFLICT,
    grpc.StatusCode.UNAVAILABLE: Exit.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: Exit.UNAVAILABLE,
    grpc.StatusCode.UNAUTHENTICATED: Exit.NOT_ALLOWED,
    grpc.StatusCode.PERMISSION_DENIED: Exit.NOT_ALLOWED,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Exit.LIMIT,
}


def exit_of(reason: str, code: grpc.StatusCode) -> Exit:
    """Choose the exit code of a failure; what has no row has failed."""
    return BY_REASON.get(reason) or BY_CODE.get(code, Exit.FAILED)
