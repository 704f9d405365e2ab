"""`weft adapter warm | pin | unpin | residency`."""

import pytest

from tests.client.service import DIGEST, State
from weft.protos.v1.adapters_pb2 import (
    PinAdapterRequest,
    Residency,
    UnpinAdapterRequest,
    WarmAdapterRequest,
)
from weft.protos.v1.types_pb2 import TIER_DISK, TIER_GPU, TIER_HOST
from weft.server.commands.places import row

from .conftest import Weft


@pytest.mark.parametrize(
    ("options", "tier", "where"),
    [
        ((), TIER_GPU, "gpu memory"),
        (("--tier", "host"), TIER_HOST, "host memory"),
        (("--tier", "disk"), TIER_DISK, "the disk cache"),
    ],
)
def test_warm_says_where_it_is_and_what_it_took(
    weft: Weft, state: State, options: tuple[str, ...], tier: int, where: str
) -> None:
    ended = weft("adapter", "warm", "support", *options)
    assert (ended.code, ended.out) == (0, f"support is in {where} after 12 ms\n")
    [request] = [r for r in state.requests if isinstance(r, WarmAdapterRequest)]
    assert (request.model, request.tier) == ("support", tier)


def test_pin_and_unpin_reach_the_server(weft: Weft, state: State) -> None:
    assert weft("adapter", "pin", "support", "--tier", "host").out == (
        "support stays in host memory\n"
    )
    assert weft("adapter", "unpin", "support").out == "support is not pinned\n"
    pin, unpin = state.requests
    assert isinstance(pin, PinAdapterRequest)
    assert isinstance(unpin, UnpinAdapterRequest)
    assert (pin.model, pin.tier, unpin.model) == ("support", TIER_HOST, "support")


def test_pins_on_the_disk_are_a_usage_error(weft: Weft) -> None:
    assert weft("adapter", "pin", "support", "--tier", "disk").code == 2


def test_residency_has_a_line_per_version(weft: Weft) -> None:
    lines = weft("adapter", "residency").out.splitlines()
    assert lines[0].split()[:4] == ["models", "tier", "size", "pinned"]
    assert lines[1].split()[:2] == ["support@7", "host"]
    assert "yes" in lines[1]
    assert "yes" not in weft("adapter", "residency", "support").out


def test_row_leaves_out_what_never_was() -> None:
    found = Residency(digest=DIGEST, models=["a@1", "b@2"], tier=TIER_DISK, server="x")
    assert row(found)[0] == "a@1,b@2"
    assert row(found)[3:5] == ["", ""]
