"""Adapters are listed, shown and moved."""

from pathlib import Path

import pytest

from weft.client import AsyncClient, Client
from weft.protos.v1 import types_pb2
from weft.protos.v1.adapters_pb2 import GetVersionRequest

from .service import State


def test_adapters_come_with_their_aliases(weft: Client) -> None:
    [adapter] = weft.adapters()
    assert [alias.alias for alias in adapter.aliases] == ["latest"]


@pytest.mark.parametrize("reference", ["support", "support:prod", "support@7"])
def test_any_reference_shows_its_version(weft: Client, state: State, reference: str) -> None:
    assert weft.version(reference).max_rank == 8
    assert [r.name for r in state.requests if isinstance(r, GetVersionRequest)] == [
        "adapters/support/versions/7"
    ]


async def test_a_version_is_retired_by_number(async_weft: AsyncClient) -> None:
    version = await async_weft.retire("support@6")
    assert version.name == "adapters/support/versions/6"
    assert version.state == types_pb2.VERSION_STATE_RETIRED


def test_a_version_is_not_retired_by_what_can_move(weft: Client) -> None:
    with pytest.raises(ValueError, match="names no version"):
        weft.retire("support:prod")


def test_publish_says_when_latest_is_to_stay(weft: Client, state: State, adapter: Path) -> None:
    weft.publish("support", adapter, latest=False, labels={"team": "a"}, assert_base=True)
    request = state.requests[-1]
    assert "no_latest: true" in str(request)
    assert "assert_base: true" in str(request)


def test_warming_answers_what_was_said_first_and_last(weft: Client) -> None:
    warmed = weft.warm("support", tier=types_pb2.TIER_HOST)
    assert (warmed.resolved.model, warmed.tier) == ("support@7", types_pb2.TIER_HOST)
    assert warmed.elapsed_ms == 12


def test_pins_and_places_are_asked_for_by_reference(weft: Client, state: State) -> None:
    assert weft.pin("support").tier == types_pb2.TIER_GPU
    weft.unpin("support:prod")
    [found] = weft.residency("support@7")
    assert found.models == ["support@7"]
    assert [getattr(request, "model", "") for request in state.requests] == [
        "support",
        "support:prod",
        "support@7",
    ]
