"""Residency's decisions carried out, with a real loader and arena."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch

from weft.adapters.image import read_image
from weft.kernels import Arena
from weft.server.engine.loader import Broken, Missing
from weft.server.engine.loads import Loads
from weft.server.engine.places import Place
from weft.server.engine.residency import Residency

from .worlds import FRONT, World

MODEL = "r8 on all"
MODELS = ("r4 on q v", "r8 on all")
Make = Callable[..., "Loading"]


class Loading:
    """Loads of a small arena, and what they asked of the front."""

    def __init__(
        self,
        world: World,
        *,
        num_elements: int,
        host_elements: int = 100_000,
        max_rank: int = 64,
    ) -> None:
        self.arena = Arena(
            num_elements,
            num_slots=4,
            num_slices=world.facts.num_slices,
            dtype=torch.float32,
            device="cpu",
            max_rank=max_rank,
        )
        self.residency = Residency(
            num_elements, host_elements=host_elements, num_slots=4, element_bytes=4
        )
        self.asked: list[tuple[bytes, str]] = []
        self.parked: list[str] = []
        self.settled: list[int] = []  # adapters parked so far, whenever a step is awaited
        self.loaded: list[str] = []
        self.loads = Loads(
            world.facts,
            self.arena,
            self.residency,
            settle=lambda: self.settled.append(len(self.parked)),
            park=lambda digest, now: self.parked.append(digest),
            ask=lambda peer, digest: self.asked.append((peer, digest)),
            loaded=lambda origin, seconds: self.loaded.append(origin),
        )

    def run(self) -> list[Missing | Broken]:
        """Order and take until nothing is under way; answer what failed."""
        failures: list[Missing | Broken] = []
        self.loads.order(0.0)
        while self.loads.is_busy:
            self.loads.wait(10)
            failures += self.loads.take()
            self.loads.order(0.0)
            self.residency.check_integrity()
        return failures

    def close(self) -> None:
        self.loads.close()


@pytest.fixture
def make(world: World) -> Iterator[Make]:
    made: list[Loading] = []

    def make(*, num_elements: int = 100_000, max_rank: int = 64) -> Loading:
        made.append(Loading(world, num_elements=num_elements, max_rank=max_rank))
        return made[-1]

    yield make
    for loading in made:
        with closing(loading):
            pass


def test_front_is_asked_and_its_answer_loaded(world: World, make: Make) -> None:
    loading, digest = make(), world.digests[MODEL]
    loading.residency.want(digest, FRONT, now=0.0)
    assert loading.run() == []
    assert loading.asked == [(FRONT, digest)]
    assert not loading.settled, "nothing that a step reads has changed"
    loading.residency.ready(digest, str(world.images[digest]))
    assert loading.run() == []
    slot = loading.residency.acquire(digest, now=0.0)
    assert slot is not None
    image = read_image(world.images[digest], world.facts)
    assert loading.arena.table.rank[slot].tolist() == image.rank.tolist()
    assert torch.equal(loading.arena.data[: image.num_elements], image.data)
    assert loading.loaded == ["disk"]
    assert loading.settled


def test_row_of_an_evicted_adapter_is_cleared(world: World, make: Make) -> None:
    loading = make()
    for model in (MODEL, "r4 on q v"):
        digest = world.digests[model]
        loading.residency.ready(digest, str(world.images[digest]))
        loading.residency.want(digest, FRONT, now=0.0)
        loading.run()
    slot = loading.residency.acquire(world.digests[MODEL], now=0.0)
    assert slot is not None
    loading.residency.release(world.digests[MODEL])
    loading.residency.forget(world.digests[MODEL])
    loading.run()
    assert loading.arena.table.rank[slot].sum() == 0
    assert loading.arena.table.rank.sum() > 0


@pytest.mark.parametrize(
    ("num_elements", "max_rank", "message"),
    [(1024, 64, "exceeds the arena's 1024"), (100_000, 4, "exceed max_rank 4")],
    ids=["larger than the arena", "above the rank"],
)
def test_adapter_that_this_arena_cannot_take_fails(
    world: World, make: Make, num_elements: int, max_rank: int, message: str
) -> None:
    loading, digest = make(num_elements=num_elements, max_rank=max_rank), world.digests[MODEL]
    loading.residency.ready(digest, str(world.images[digest]))
    loading.residency.want(digest, FRONT, now=0.0)
    [failure] = loading.run()
    assert isinstance(failure, Broken)
    assert message in failure.message
    assert loading.residency.place_of(digest) is Place.ABSENT
    assert loading.residency.used_elements == 0


def test_hot_adapter_is_brought_back_while_nothing_else_loads(world: World, make: Make) -> None:
    image = read_image(world.images[world.digests[MODEL]], world.facts)
    loading = make(num_elements=image.num_elements)
    hot, cold = world.digests[MODEL], world.digests["r4 on q v"]
    for digest in (hot, hot, hot, cold):
        loading.residency.ready(digest, str(world.images[digest]))
        loading.residency.want(digest, FRONT, now=0.0)
        loading.loads.order(-1.0)
        while loading.residency.acquire(digest, now=0.0) is None:
            loading.loads.wait(10)
            assert list(loading.loads.take()) == []
            loading.loads.order(-1.0)
        loading.residency.release(digest)
    assert loading.residency.resident == [cold]
    loading.run()
    assert loading.residency.resident == [hot]
    assert loading.loaded == ["disk", "disk", "host"]


def test_adapter_that_pinned_ones_leave_no_place_for_fails(world: World, make: Make) -> None:
    image = read_image(world.images[world.digests[MODELS[0]]], world.facts)
    loading = make(num_elements=2 * image.num_elements + 64)
    for model in MODELS:
        digest = world.digests[model]
        loading.residency.ready(digest, str(world.images[digest]))
        loading.residency.want(digest, FRONT, now=0.0)
        failures = loading.run()
        if model == MODELS[0]:
            loading.residency.pin(digest, "arena")
    [failure] = failures
    assert isinstance(failure, Broken)
    assert "of which pinned adapters leave" in failure.message


def test_file_that_is_gone_is_told_apart(world: World, make: Make, tmp_path: Path) -> None:
    loading, digest = make(), world.digests[MODEL]
    loading.residency.ready(digest, str(tmp_path / "gone"))
    loading.residency.want(digest, FRONT, now=0.0)
    assert loading.run() == [Missing(digest)]
    loading.residency.refetch(digest, FRONT)
    loading.run()
    assert loading.asked == [(FRONT, digest)]
