"""The status table is complete, and says the same as the API."""

from collections.abc import Iterator

import grpc
import pytest
from google.rpc import error_details_pb2

from weft.adapters import errors as adapters
from weft.client import error_of_status
from weft.protos.v1 import errors_pb2
from weft.server import errors as server
from weft.server.rpc.status import MAX_STATUS_BYTES, TABLE, engine_error, row_of, status_of

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


MANY = 700


@pytest.mark.parametrize(
    "error",
    [
        adapters.Refused(
            tuple(
                adapters.Violation("TENSOR_UNMATCHED", f"layers.{i}.q_proj", "é" * 300, "a module")
                for i in range(MANY)
            )
        ),
        adapters.OptionsInvalid(
            tuple(adapters.Violation("OPTION_VALUE", f"o{i}", "x", "y") for i in range(MANY))
        ),
        server.RequestInvalid(
            tuple(server.FieldViolation("f" * 9999, "x" * 9999) for _ in range(MANY))
        ),
    ],
    ids=["adapter", "options", "request"],
)
def test_a_status_stays_within_the_trailers_and_lists_what_fits(error: Exception) -> None:
    status = status_of(error, error_id="e1")
    assert status.ByteSize() <= MAX_STATUS_BYTES
    read = error_of_status(status)
    assert read.metadata["violations_total"] == str(MANY)
    assert 3 < len(read.violations) < MANY


@pytest.mark.parametrize("size", [0, 1, 5, 40])
def test_violations_that_fit_are_all_listed(size: int) -> None:
    found = tuple(server.FieldViolation(f"f{i}", "1 above 0") for i in range(size or 1))
    status = status_of(server.RequestInvalid(found), error_id="e1")
    assert [v.field for v in error_of_status(status).violations] == [v.field for v in found]


def test_a_long_message_and_long_metadata_are_cut() -> None:
    error = adapters.ModelNotFound("é" * 100_000, name="x" * 100_000)
    status = status_of(error, error_id="e1")
    assert status.ByteSize() <= MAX_STATUS_BYTES
    assert status.message.endswith("é…")


@pytest.mark.parametrize("error", [server.QueueFull("full"), adapters.RegistryUnavailable("down")])
def test_what_passes_by_itself_carries_a_retry_delay(error: Exception) -> None:
    retry = details(error)["RetryInfo"]
    assert isinstance(retry, error_details_pb2.RetryInfo)
    assert retry.retry_delay.seconds > 0


def test_an_error_that_knows_when_to_come_back_says_so() -> None:
    retry = details(engine_error("QUEUE_FULL", "full", {"retry_s": "17"}))["RetryInfo"]
    assert isinstance(retry, error_details_pb2.RetryInfo)
    assert retry.retry_delay.seconds == 17


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


@pytest.mark.parametrize("reason", sorted({row.reason for row in TABLE.values()}))
def test_every_reason_that_an_engine_could_name_makes_an_error(reason: str) -> None:
    error = engine_error(reason, "what is wrong", {"limit": "64"})
    assert "what is wrong" in str(error)
    expected = "ADAPTER_LOAD_FAILED" if reason == "ADAPTER_REFUSED" else reason
    assert row_of(error).reason == expected


def test_a_prompt_that_the_engine_refuses_is_a_violation_of_the_request() -> None:
    error = engine_error("REQUEST_INVALID", "has 0 tokens", {})
    assert isinstance(error, server.RequestInvalid)
    assert error.violations == (server.FieldViolation("prompt", "has 0 tokens"),)
