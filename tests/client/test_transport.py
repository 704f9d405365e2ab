"""A request names its call, and the channel is set up as the servers expect."""

import json

import pytest

from weft.client.transport import CHANNEL_OPTIONS, METHODS, call_of
from weft.protos.v1 import adapters_pb2


def test_every_call_is_found_by_its_request() -> None:
    assert len(METHODS) == 59
    assert METHODS["weft.v1.SetAliasRequest"].name == "SetAlias"


def test_a_call_has_its_path() -> None:
    call = call_of(
        adapters_pb2.SetAliasRequest, adapters_pb2.SetAliasResponse, timeout_s=1, metadata=()
    )
    assert call.path == "/weft.v1.AdapterService/SetAlias"


def test_a_call_does_not_answer_anything_else() -> None:
    with pytest.raises(ValueError, match="SetAlias does not answer DeleteAliasResponse"):
        call_of(
            adapters_pb2.SetAliasRequest,
            adapters_pb2.DeleteAliasResponse,
            timeout_s=1,
            metadata=(),
        )


def test_every_call_but_an_upload_is_retried_when_unavailable() -> None:
    config = json.loads(str(dict(CHANNEL_OPTIONS)["grpc.service_config"]))
    [policy] = config["methodConfig"]
    names = {entry["method"] for entry in policy["name"]}
    assert names == {method.name for method in METHODS.values()} - {"WriteUpload"}
    assert policy["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]


def test_the_channel_pings_and_caps() -> None:
    options = dict(CHANNEL_OPTIONS)
    assert options["grpc.keepalive_time_ms"] == 30_000
    assert options["grpc.max_receive_message_length"] == 4 * 1024**2
