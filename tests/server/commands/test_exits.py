"""Every failure has an exit code, and people can rely on it."""

import grpc
import pytest

from weft.server.commands.exits import Exit, exit_of
from weft.server.rpc.status import TABLE

CODES = {
    Exit.REFUSED: "REQUEST_INVALID PROMPT_TOO_LONG TEMPLATE_FAILED UPLOAD_DIGEST ADAPTER_REFUSED "
    "DATASET_INVALID FEATURE_UNSUPPORTED",
    Exit.CONFLICT: "UPLOAD_OFFSET UPLOAD_TAKEN ALIAS_CONFLICT ETAG_MISMATCH FENCE_LOST "
    "REQUEST_ID_REUSED ALREADY_EXISTS VERSION_RETIRED VERSION_ALIASED VERSION_IN_USE "
    "BASE_NOT_SERVED JOB_STATE_CONFLICT",
    Exit.NOT_ALLOWED: "CREDENTIALS_MISSING CREDENTIALS_INVALID ROLE_REQUIRED",
    Exit.NOT_FOUND: "MODEL_NOT_FOUND ADAPTER_NOT_FOUND VERSION_NOT_FOUND ALIAS_NOT_FOUND "
    "BLOB_NOT_FOUND UPLOAD_NOT_FOUND DATASET_NOT_FOUND JOB_NOT_FOUND",
    Exit.LIMIT: "QUEUE_FULL RATE_LIMITED QUOTA_EXCEEDED STORE_FULL MESSAGE_TOO_LARGE",
    Exit.UNAVAILABLE: "DEADLINE_EXCEEDED REGISTRY_UNAVAILABLE STORE_UNAVAILABLE "
    "ENGINE_UNAVAILABLE SHUTTING_DOWN ADAPTER_LOAD_FAILED",
    Exit.FAILED: "CANCELLED CONTENT_CORRUPT STEP_FAILED INTERNAL",
}


def test_every_reason_has_its_exit_code() -> None:
    expected = {reason: code for code, reasons in CODES.items() for reason in reasons.split()}
    assert {row.reason: exit_of(row.reason, row.code) for row in TABLE.values()} == expected


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_every_grpc_code_ends_in_failure(code: grpc.StatusCode) -> None:
    assert exit_of(code.name, code) is not Exit.DONE
