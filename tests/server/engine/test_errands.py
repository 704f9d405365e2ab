"""Adapters brought and kept without a sequence, in a whole engine."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from weft.server.channel import Locate, Located, Placed, Unpin, Unplaced, Warm
from weft.server.config import EngineConfig

from .worlds import FRONT, Front, World

KV_BYTES = 1_000_000
MODEL = "r8 on all"


@pytest.fixture
def front(world: World) -> Iterator[Front]:
    with closing(Front(world, EngineConfig(kv_bytes=KV_BYTES, arena_bytes=4_000_000))) as front:
        yield front


def ask(front: Front, model: str, tier: str = "arena", *, pin: bool = False) -> None:
    """Send an errand, and run until its last answer has come."""
    front.engine.receive(FRONT, Warm(len(front.placed), front.world.digests[model], tier, pin))
    while isinstance(last := front.placed[-1], Placed) and not last.reached:
        front.advance()
    front.engine.check_integrity()


def test_warmed_adapter_answers_from_the_arena(front: Front) -> None:
    ask(front, MODEL)
    assert front.placed == [Placed(0, "store", False), Placed(0, "arena", True)]
    stream = front.submit([5, 6, 7], model=MODEL)
    front.finish()
    finished = front.answers[stream].finished
    assert finished is not None
    assert finished.tier == "arena"


def test_adapter_warmed_to_the_host_goes_no_further(world: World, front: Front) -> None:
    ask(front, MODEL, "host")
    assert front.placed[-1] == Placed(0, "host", True)
    assert front.engine.residency.resident == []
    ask(front, MODEL, "arena")
    assert front.placed[2:] == [Placed(2, "host", False), Placed(2, "arena", True)]


def test_pinned_adapter_is_located_until_it_is_let_go(world: World, front: Front) -> None:
    ask(front, MODEL, pin=True)
    ask(front, "r64 on o", "host")
    for pinned in ("arena", None):
        front.engine.receive(FRONT, Locate(9))
        located = front.placed[-1]
        assert isinstance(located, Located)
        found = {held.digest: held for held in located.held}
        held, other = found[world.digests[MODEL]], found[world.digests["r64 on o"]]
        assert (held.tier, held.pinned, held.idle_s) == ("arena", pinned, None)
        assert (other.tier, other.pinned) == ("host", None)
        assert 0 < held.num_bytes <= world.images[held.digest].stat().st_size
        front.engine.receive(FRONT, Unpin(held.digest))


def test_pin_beyond_the_quota_is_refused_with_figures(world: World) -> None:
    size = world.images[world.digests[MODEL]].stat().st_size
    with closing(Front(world, EngineConfig(kv_bytes=KV_BYTES, arena_bytes=size))) as front:
        ask(front, MODEL, pin=True)
        refused = front.placed[-1]
        assert isinstance(refused, Unplaced)
        assert refused.reason == "QUOTA_EXCEEDED"
        assert refused.metadata.keys() == {"figure", "limit"}
        assert front.engine.residency.num_waiting == 0


def test_adapter_that_cannot_be_brought_is_told(world: World, front: Front) -> None:
    del front.images[world.digests[MODEL]]
    ask(front, MODEL)
    assert front.placed[-1] == Unplaced(0, "STORE_UNAVAILABLE", "the store is away")


def test_image_that_has_left_the_disk_is_asked_for_again(world: World, front: Front) -> None:
    digest = world.digests[MODEL]
    gone = world.folder / "gone.image"
    path, front.images[digest] = front.images[digest], gone
    front.engine.receive(FRONT, Warm(0, digest, "arena"))
    front.step()
    front.images[digest] = path
    while not isinstance(last := front.placed[-1], Placed) or not last.reached:
        front.advance()
    front.engine.check_integrity()
