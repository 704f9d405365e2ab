"""What goes with every call, and what calls in a row make of each other."""

import uuid
from pathlib import Path

import pytest

from weft.client import AsyncClient, Client, WeftError
from weft.client.calls import CALL_TIMEOUT_S, event_order
from weft.protos.v1 import adapters_pb2, inference_pb2, jobs_pb2

from .service import State


def test_the_api_key_goes_with_every_call(weft: Client, state: State, adapter: Path) -> None:
    weft.publish("support", adapter)
    weft.models()
    assert {metadata["authorization"] for metadata in state.metadata} == {"Bearer weft_secret"}


def test_a_client_without_a_key_sends_none(address: str, state: State) -> None:
    with Client(address) as weft:
        weft.models()
    assert "authorization" not in state.metadata[0]


def test_a_mutating_call_gets_a_request_id(weft: Client, state: State) -> None:
    for _ in range(2):
        weft.set_alias("support", "prod", 7, expected_generation=0, reason="tested")
    first, second = (
        request for request in state.requests if isinstance(request, adapters_pb2.SetAliasRequest)
    )
    assert uuid.UUID(first.request_id) != uuid.UUID(second.request_id)
    assert first.HasField("expected_generation")
    assert (first.name, first.reason) == ("adapters/support/aliases/prod", "tested")


def test_a_given_request_id_is_kept(weft: Client, state: State) -> None:
    request = adapters_pb2.SetAliasRequest(request_id="mine")
    weft.call(request, adapters_pb2.SetAliasResponse)
    assert request.request_id == "mine"


def test_what_was_changed_is_seen_by_the_next_call(
    weft: Client, state: State, adapter: Path
) -> None:
    def seen_after(_: object) -> str:
        weft.complete("support", text="hello")
        return state.metadata[-1]["x-weft-after"]

    assert seen_after(weft.publish("support", adapter)) == "17-0"
    assert seen_after(weft.set_alias("support", "prod", 7)) == "18-0"
    assert seen_after(weft.retire("support@6")) == "19-0"
    assert seen_after(weft.job("j1")) == "20-0"


def test_an_old_event_does_not_hide_a_newer_one(weft: Client, state: State) -> None:
    weft.job("j1")
    weft.set_alias("support", "prod", 7)
    weft.models()
    assert state.metadata[-1]["x-weft-after"] == "20-0"


@pytest.mark.parametrize(("older", "newer"), [("", "1-0"), ("9-0", "10-0"), ("5-9", "5-10")])
def test_events_are_ordered_by_number(older: str, newer: str) -> None:
    assert event_order(older) < event_order(newer)


def test_a_client_that_changed_nothing_waits_for_nothing(weft: Client, state: State) -> None:
    weft.models()
    assert "x-weft-after" not in state.metadata[-1]


@pytest.mark.parametrize("page_size", [1, 2, 5, 9])
def test_pages_are_collected_as_one(weft: Client, state: State, page_size: int) -> None:
    state.page_size = page_size
    assert [model.model for model in weft.models()] == ["base", "a", "b", "c", "d"]
    request = inference_pb2.ListModelsRequest()
    answer = weft.collect(request, inference_pb2.ListModelsResponse)
    assert answer.next_page_token == ""


def test_a_watch_goes_on_from_its_cursor(weft: Client, state: State) -> None:
    state.broken_streams = 2
    assert [response.cursor for response in weft.watch()] == ["1", "2", "3"]
    cursors = [
        request.cursor
        for request in state.requests
        if isinstance(request, adapters_pb2.WatchAdaptersRequest)
    ]
    assert cursors == ["", "1", "2"]


async def test_a_watched_job_goes_on_from_its_cursor(async_weft: AsyncClient, state: State) -> None:
    state.broken_streams = 1
    responses = [response async for response in async_weft.watch_job("j1")]
    assert [response.event.cursor for response in responses] == ["1", "2", "3"]
    assert responses[-1].event.state.to == jobs_pb2.JOB_STATE_SUCCEEDED


def test_a_stream_that_fails_before_it_begins_is_given_up(weft: Client) -> None:
    with pytest.raises(WeftError, match="no model"):
        list(weft.generate("nobody", text=""))


def test_calls_have_a_deadline_by_themselves() -> None:
    assert 0 < CALL_TIMEOUT_S <= 600
