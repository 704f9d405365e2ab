"""A failed call says what failed, in both faces."""

import grpc
import pytest
from google.rpc import status_pb2

from weft.client import AsyncClient, Client, FieldViolation, WeftError, error_of_status
from weft.client.errors import weft_errors

from .service import NO_ENGINE, QUEUE_FULL, REFUSED


def test_a_status_gives_reason_code_figures_and_violations() -> None:
    error = error_of_status(REFUSED)
    assert str(error) == "rank 96 exceeds 64"
    assert error.reason == "ADAPTER_REFUSED"
    assert error.code is grpc.StatusCode.FAILED_PRECONDITION
    assert error.metadata == {"limit": "64"}
    assert error.violations == (FieldViolation("r", "found 96, expected 64", "RANK_LIMIT"),)
    assert error.retry_after_s is None


def test_a_status_says_when_to_come_back() -> None:
    assert error_of_status(QUEUE_FULL).retry_after_s == 2.0


def test_a_status_without_details_has_the_name_of_its_code_as_reason() -> None:
    error = error_of_status(status_pb2.Status(code=5, message="no such thing"))
    assert (error.reason, error.code) == ("NOT_FOUND", grpc.StatusCode.NOT_FOUND)


def test_only_what_can_pass_is_transient() -> None:
    assert error_of_status(NO_ENGINE).is_transient
    assert not error_of_status(REFUSED).is_transient
    assert WeftError("", reason="UPLOAD_OFFSET", code=grpc.StatusCode.OUT_OF_RANGE).is_transient


def test_a_blocking_call_raises_what_the_server_said(weft: Client) -> None:
    with pytest.raises(WeftError, match="no model 'nobody'") as raised:
        weft.model("nobody")
    assert raised.value.reason == "MODEL_NOT_FOUND"


async def test_an_awaited_call_raises_what_the_server_said(async_weft: AsyncClient) -> None:
    with pytest.raises(WeftError, match="no model 'nobody'") as raised:
        await async_weft.model("nobody")
    assert raised.value.reason == "MODEL_NOT_FOUND"


def test_a_stream_raises_what_the_server_said(weft: Client) -> None:
    with pytest.raises(WeftError) as raised:
        weft.complete("busy", text="hello")
    assert (raised.value.reason, raised.value.retry_after_s) == ("QUEUE_FULL", 2.0)


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with Client("127.0.0.1:1", timeout_s=20) as weft, pytest.raises(WeftError) as raised:
        weft.models()
    assert raised.value.reason == "UNAVAILABLE"


def test_a_passed_deadline_is_an_error_of_its_own(address: str) -> None:
    with Client(address, timeout_s=0.2) as weft, pytest.raises(WeftError) as raised:
        weft.complete("endless", text="go")
    assert raised.value.reason == "DEADLINE_EXCEEDED"


class Overtaken(grpc.RpcError):
    """A call that ended by its deadline while the server's own status was under way."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.DEADLINE_EXCEEDED

    def details(self) -> str:
        return "Stream removed"

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:  # type: ignore[override]
        status = status_pb2.Status(code=4, message="the first token is predicted after 7 ms")
        return (("grpc-status-details-bin", status.SerializeToString()),)


def test_a_deadline_that_overtakes_the_status_is_an_error_as_well() -> None:
    with pytest.raises(WeftError, match="Stream removed") as raised, weft_errors():
        raise Overtaken
    assert raised.value.reason == "DEADLINE_EXCEEDED"
