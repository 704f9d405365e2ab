"""Images from the disk into the arena, in the loader's thread."""

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import LoraConfig

from tests.tiny import save_tiny_adapter
from weft.adapters.image import read_image, write_image
from weft.kernels import Arena
from weft.server.engine.loader import Broken, Copied, Done, GivenUp, Loader, Missing, Opened
from weft.server.engine.places import Close, Copy, Hurry, Open

from .worlds import ATTENTION, MLP, World, check

MODEL = "r8 on all"


@pytest.fixture
def arena(world: World) -> Arena:
    arena = Arena(
        100_000, num_slots=4, num_slices=world.facts.num_slices, dtype=torch.float32, device="cpu"
    )
    arena.data.fill_(torch.nan)
    return arena


@pytest.fixture
def loader(world: World, arena: Arena) -> Iterator[Loader]:
    with closing(Loader(world.facts, arena, host_elements=0)) as loader:
        yield loader


def do(loader: Loader, command: Open | Copy) -> Done:
    """Have one command carried out."""
    loader.put(command)
    assert loader.is_busy
    while not (done := loader.take()):
        loader.wait(10)
    assert not loader.is_busy
    return done[0]


def test_image_is_copied_to_its_run_and_nowhere_else(
    world: World, arena: Arena, loader: Loader
) -> None:
    digest = world.digests[MODEL]
    image = read_image(world.images[digest], world.facts)
    opened = do(loader, Open(digest, str(world.images[digest])))
    assert opened == Opened(digest, image.num_elements)
    copied = do(loader, Copy(digest, slot=2, at=96))
    assert isinstance(copied, Copied)
    assert (copied.slot, copied.at) == (2, 96)
    assert copied.seconds > 0
    assert torch.equal(arena.data[96 : 96 + image.num_elements], image.data)
    assert arena.data[:96].isnan().all()
    assert arena.data[96 + image.num_elements :].isnan().all()
    assert (arena.table.rank == 0).all()


def test_image_is_copied_again_from_the_host_until_it_is_closed(
    world: World, arena: Arena, loader: Loader, tmp_path: Path
) -> None:
    digest = world.digests[MODEL]
    path = tmp_path / "image"
    path.write_bytes(world.images[digest].read_bytes())
    do(loader, Open(digest, str(path)))
    path.unlink()
    copies = [do(loader, Copy(digest, slot, at=0)) for slot in (1, 2)]
    assert [copy.origin for copy in copies if isinstance(copy, Copied)] == ["disk", "host"]
    loader.put(Close(digest))
    assert isinstance(do(loader, Open(digest, str(path))), Missing)


@pytest.mark.parametrize("other", [Hurry(), Open("sha256:b", "/nowhere")])
def test_copy_that_yields_makes_way_for_another_command(
    world: World, arena: Arena, loader: Loader, tmp_path: Path, other: Hurry | Open
) -> None:
    digest = world.digests[MODEL]
    do(loader, Open(digest, str(world.images[digest])))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    loader.put(Open("sha256:a", str(pipe)))  # occupies the thread until somebody writes
    loader.put(Copy(digest, slot=1, at=0, yields=True))
    loader.put(other)
    with pipe.open("wb"):
        pass
    done: list[Done] = []
    while loader.is_busy:
        loader.wait(10)
        done += loader.take()
    assert done[1] == GivenUp(digest)
    assert arena.data.isnan().all()
    copied = do(loader, Copy(digest, slot=1, at=0, yields=True))
    assert isinstance(copied, Copied)
    assert copied.origin == "disk"


def test_closed_image_can_be_opened_again(world: World, loader: Loader) -> None:
    digest = world.digests[MODEL]
    command = Open(digest, str(world.images[digest]))
    do(loader, command)
    loader.put(Close(digest))
    loader.put(Close(digest))
    assert isinstance(do(loader, command), Opened)


def test_opened_image_survives_the_removal_of_its_file(
    world: World, loader: Loader, tmp_path: Path
) -> None:
    digest = world.digests[MODEL]
    path = tmp_path / "image"
    path.write_bytes(world.images[digest].read_bytes())
    do(loader, Open(digest, str(path)))
    path.unlink()
    assert isinstance(do(loader, Copy(digest, slot=0, at=0)), Copied)
    assert do(loader, Open(digest, str(path))) == Missing(digest)


def test_garbage_is_corrupt(world: World, loader: Loader, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"garbage" * 100)
    done = do(loader, Open("sha256:a", str(tmp_path / "image")))
    assert isinstance(done, Broken)
    assert done.reason == "CONTENT_CORRUPT"


def test_image_of_another_digest_is_corrupt(world: World, loader: Loader) -> None:
    path = world.images[world.digests[MODEL]]
    done = do(loader, Open("sha256:other", str(path)))
    assert isinstance(done, Broken)
    assert done.reason == "CONTENT_CORRUPT"
    assert "sha256:other is one of sha256:" in done.message


def test_image_of_another_layout_is_refused(world: World, arena: Arena) -> None:
    digest = world.digests[MODEL]
    others = replace(world.facts, dtype="bfloat16")
    with closing(Loader(others, arena, host_elements=0)) as loader:
        done = do(loader, Open(digest, str(world.images[digest])))
    assert isinstance(done, Broken)
    assert done.reason == "BASE_NOT_SERVED"


def test_what_cannot_be_read_at_all_fails_alone(
    world: World, loader: Loader, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    digest = world.digests[MODEL]
    done = do(loader, Open("sha256:a", str(tmp_path)))
    assert isinstance(done, Broken)
    assert done.reason == "ADAPTER_LOAD_FAILED"
    assert str(tmp_path) not in done.message
    assert "sha256:a could not be loaded" in caplog.text
    assert isinstance(do(loader, Open(digest, str(world.images[digest]))), Opened)


def test_large_copy_starts_no_threads_beside_those_of_the_steps(
    world: World, tmp_path: Path
) -> None:
    """More OpenMP threads than cores, and those that should spin between two products sleep."""
    config = LoraConfig(r=64, target_modules=ATTENTION + MLP)
    large = check(save_tiny_adapter(world.folder, tmp_path / "large", config, seed=0), world.facts)
    write_image(large, world.facts, tmp_path / "image")
    arena = Arena(
        200_000, num_slots=1, num_slices=world.facts.num_slices, dtype=torch.float32, device="cpu"
    )
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        (arena.data + 1).sum()  # this thread's own workers
        tasks = set(Path("/proc/self/task").iterdir())
        with closing(Loader(world.facts, arena, host_elements=0)) as loader:
            opened = do(loader, Open(large.digest, str(tmp_path / "image")))
            assert isinstance(opened, Opened)
            assert opened.size > 1 << 16, "too little for several threads"
            assert isinstance(do(loader, Copy(large.digest, 0, 0)), Copied)
            assert len(set(Path("/proc/self/task").iterdir()) - tasks) == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
