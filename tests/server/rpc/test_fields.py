"""Fields that many requests have."""

import pytest

from weft.adapters.records import Call
from weft.server.errors import RequestInvalid
from weft.server.rpc.auth import CALLER, Caller
from weft.server.rpc.fields import (
    call_of,
    read_event_id,
    read_labels,
    read_name,
    read_page_size,
    read_version_number,
)


def test_page_size_has_a_default_and_a_limit() -> None:
    assert (read_page_size(0), read_page_size(1000)) == (100, 1000)
    with pytest.raises(RequestInvalid, match="1001"):
        read_page_size(1001)


def test_labels_pass_within_their_limits() -> None:
    labels = {"k" * 63: "v" * 255}
    assert read_labels(labels) == labels


@pytest.mark.parametrize(
    "labels", [{str(i): "" for i in range(33)}, {"": "v"}, {"k" * 64: "v"}, {"k": "é" * 128}]
)
def test_labels_beyond_a_limit_are_refused(labels: dict[str, str]) -> None:
    with pytest.raises(RequestInvalid, match="labels"):
        read_labels(labels)


def test_resource_name_gives_its_parts() -> None:
    assert read_name("adapters/{}/versions/{}", "adapters/a/versions/7") == ["a", "7"]


@pytest.mark.parametrize(
    "name", ["", "a", "adapters/a", "adapters/a/versions/7/x", "x/a/versions/1"]
)
def test_resource_name_of_another_form_is_refused(name: str) -> None:
    with pytest.raises(RequestInvalid, match=r"adapters/\{\}/versions/\{\}"):
        read_name("adapters/{}/versions/{}", name)


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "1" * 10])
def test_version_number_is_a_number(text: str) -> None:
    with pytest.raises(RequestInvalid):
        read_version_number(text)
    assert read_version_number("7") == 7


def test_a_change_is_made_by_the_caller() -> None:
    CALLER.set(Caller("acme", frozenset(), "the pipeline"))
    assert call_of("", reason="why") == Call("acme", "the pipeline", None, "why")
    assert call_of("id").request_id == "id"
    with pytest.raises(RequestInvalid, match="request_id"):
        call_of("x" * 65)
    with pytest.raises(RequestInvalid, match="reason"):
        call_of("", reason="x" * 256)


@pytest.mark.parametrize("text", ["", "0-0", "1795219874511-3"])
def test_an_events_id_passes(text: str) -> None:
    assert read_event_id("cursor", text) == text


@pytest.mark.parametrize("text", ["x", "1", "1-", "-1-0", "٣-0", "1" * 20 + "-0"])
def test_an_events_id_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(RequestInvalid, match="cursor"):
        read_event_id("cursor", text)
