"""Images in host memory: a budget, and who leaves."""

import pytest

from weft.server.engine.host_tier import HostTier
from weft.server.engine.places import Adapter, Place


def image(digest: str, size: int, *, place: Place = Place.ABSENT, last_use: float = 0.0) -> Adapter:
    return Adapter(digest, place=place, size=size, last_use=last_use)


def trim(tier: HostTier) -> list[str]:
    gone = [adapter.digest for adapter in tier.trim(lambda adapter: adapter.last_use or 0.0)]
    tier.check_integrity()
    return gone


def test_what_is_worth_least_leaves_until_the_rest_fits() -> None:
    tier = HostTier(10)
    for number, size in enumerate((4, 3, 5, 4)):
        tier.put(image(str(number), size, last_use=-number))
    assert trim(tier) == ["3", "2"]
    assert (tier.used_elements, len(tier), tier.num_evictions) == (7, 2, 2)
    assert trim(tier) == []


@pytest.mark.parametrize("place", [Place.READABLE, Place.COPYING])
def test_image_on_its_way_to_the_arena_stays(place: Place) -> None:
    tier = HostTier(4)
    coming, other = image("coming", 8, place=place), image("other", 1, last_use=9)
    tier.put(coming)
    tier.put(other)
    assert trim(tier) == ["other"]
    assert coming in tier
    coming.place = Place.RESIDENT
    assert trim(tier) == ["coming"]
    assert coming not in tier
