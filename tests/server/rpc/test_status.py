"""The status table is complete, and says the same as the API."""

from collections.abc import Iterator

import grpc
import pytest
from google.rpc import error_details_pb2

from weft.adapters import errors as adapters
from weft.protos.v1 import errors_pb2
from weft.server import errors as server
from weft.server.rpc.status import TABLE, engine_error, row_of, status_of

# Roots of a branch, what stops a start and what ends a training: no call ever raises them.
NEVER_RAISED = {
    adapters.AdapterError,
    adapters.NotFound,
    adapters.Conflict,
    adapters.WrongState,
    adapters.LossNotFinite,
    adapters.TrainingStopped,
    server.ServerError,
    server.StartFailed,
    server.ModelRefused,
}


def tree(root: type[Exception]) -> Iterator[type[Exception]]:
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


def test_every_error_has_a_row_of_its_own() -> None:
    kinds = {*tree(adapters.AdapterError), *tree(server.ServerError)}
    assert kinds - NEVER_RAISED == set(TABLE) - {Exception}


def test_every_reason_of_the_api_has_an_error() -> None:
    reasons = {name.removeprefix("ERROR_REASON_") for name in errors_pb2.ErrorReason.keys()}  # noqa: SIM118
    assert {row.reason for row in TABLE.values()} == reasons - {"UNSPECIFIED"}


def details(error: Exception) -> dict[str, object]:
    found: dict[str, object] = {}
    for packed in status_of(error, error_id="e1").details:
        kind = getattr(error_details_pb2, packed.TypeName().rpartition(".")[2])
        found[kind.__name__] = kind.FromString(packed.value)
    return found


def test_error_info_names_reason_domain_and_metadata() -> None:
    info = details(adapters.AliasConflict("moved", generation=3))["ErrorInfo"]
    assert isinstance(info, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain, dict(info.metadata)) == (
        "ALIAS_CONFLICT",
        "weft",
        {"generation": "3"},
    )


def test_all_violations_of_a_request_are_listed() -> None:
    error = server.RequestInvalid(
        (server.FieldViolation("a", "1 above 0"), server.FieldViolation("b", "empty"))
    )
    bad = details(error)["BadRequest"]
    assert isinstance(bad, error_details_pb2.BadRequest)
    assert [(v.field, v.description) for v in bad.field_violations] == [
        ("a", "1 above 0"),
        ("b", "empty"),
    ]


def test_a_refused_adapter_lists_admission_codes() -> None:
    error = adapters.Refused((adapters.Violation("RANK_LIMIT", "r", "96", "at most 64"),))
    bad = details(error)["BadRequest"]
    assert isinstance(bad, error_details_pb2.BadRequest)
    assert bad.field_violations[0].reason == "RANK_LIMIT"


@pytest.mark.parametrize("error", [server.QueueFull("full"), adapters.RegistryUnavailable("down")])
def test_what_passes_by_itself_carries_a_retry_delay(error: Exception) -> None:
    retry = details(error)["RetryInfo"]
    assert isinstance(retry, error_details_pb2.RetryInfo)
    assert retry.retry_delay.seconds > 0


def test_what_is_unforeseen_shows_its_id_and_not_its_text() -> None:
    status = status_of(KeyError("/secret/path"), error_id="e1")
    assert status.code == grpc.StatusCode.INTERNAL.value[0]
    assert status.message == "internal error e1"
    assert "secret" not in str(status)


def test_an_engine_fault_becomes_the_error_of_its_reason() -> None:
    error = engine_error("QUEUE_FULL", "64 sequences wait", {"limit": "64"})
    assert isinstance(error, server.QueueFull)
    assert error.metadata == {"limit": "64"}
    assert row_of(engine_error("INTERNAL", "x", {})).reason == "INTERNAL"
