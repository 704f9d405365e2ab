"""What pins leave to others."""

import pytest

from weft.adapters.errors import QuotaExceeded

from .arenas import arena, run


def test_pins_leave_half_of_the_arena_in_one_piece() -> None:
    residency = arena(16, host_elements=100)
    for digest in ("a", "e", "f"):
        run(residency, digest)
        residency.release(digest)
    residency.pin("a", "arena")
    with pytest.raises(QuotaExceeded) as caught:
        residency.pin("f", "arena")
    assert str(caught.value) == (
        "pinning 64 bytes would leave 128 of the arena's 512 bytes to others; 256 are kept free"
    )
    assert caught.value.metadata == {"figure": "128", "limit": "256"}


def test_pins_leave_room_for_the_largest_image_that_is_known() -> None:
    residency = arena(16)
    run(residency, "d")
    residency.release("d")
    run(residency, "e")
    with pytest.raises(QuotaExceeded, match="512 are kept free"):
        residency.pin("e", "arena")
    assert residency.largest_place == 16


def test_pins_leave_half_of_the_host_tier() -> None:
    residency = arena(64, host_elements=16)
    for digest in ("a", "b"):
        run(residency, digest)
        residency.release(digest)
    residency.pin("b", "host")
    residency.pin("b", "host")
    with pytest.raises(QuotaExceeded, match="pinning 128 bytes would leave 128 of the host's 512"):
        residency.pin("a", "host")
    for digest in ("c", "e", "f", "d"):
        run(residency, digest)
    assert residency.is_in("host", "b")
