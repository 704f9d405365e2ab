"""Places and what they imply."""

from weft.server.engine.places import Adapter, Place


def test_adapter_is_idle_when_nobody_runs_on_it_or_waits_for_it() -> None:
    adapter = Adapter("sha256:a", place=Place.RESIDENT)
    assert adapter.is_idle
    assert not Adapter("sha256:a", place=Place.COPYING).is_idle
    assert not Adapter("sha256:a", place=Place.RESIDENT, pins=1).is_idle
    assert not Adapter("sha256:a", place=Place.RESIDENT, waiting=1).is_idle
