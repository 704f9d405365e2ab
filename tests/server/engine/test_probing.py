"""Probes of adapters before they are published, on a real engine."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from weft.adapters.image import write_image
from weft.server.config import EngineConfig

from .worlds import LORAS, Front, World, check

CONFIG = EngineConfig(kv_bytes=1_000_000, arena_bytes=4_000_000)


@pytest.fixture
def front(world: World) -> Iterator[Front]:
    with closing(Front(world, CONFIG)) as front:
        yield front


def test_every_good_adapter_passes_and_is_resident_afterwards(world: World, front: Front) -> None:
    for model in LORAS:
        front.probe(model)
    for probed in front.finish_probes(len(LORAS)):
        assert probed.violations == []
        assert probed.largest_error < 1e-5
        assert probed.logit_change > 1e-2
    assert set(front.engine.residency.resident) == set(world.digests.values())


def test_image_that_differs_from_the_upload_is_refused_and_forgotten(
    world: World, front: Front, tmp_path: Path
) -> None:
    checked = check(world.adapters["r8 on all"], world.facts)
    first, *others = checked.modules
    doubled = replace(first, scaling=2 * first.scaling)
    write_image(replace(checked, modules=(doubled, *others)), world.facts, tmp_path / "image")
    front.probe("r8 on all", image=tmp_path / "image")
    [probed] = front.finish_probes()
    assert [(v.code, v.path) for v in probed.violations] == [("PROBE_MISMATCH", first.name)]
    assert front.engine.residency.resident == []


def test_adapter_that_overflows_the_logits_is_refused(
    world: World, front: Front, tmp_path: Path
) -> None:
    checked = check(world.adapters["r8 on all"], world.facts)
    first, *others = checked.modules
    broken = replace(first, b=torch.full_like(first.b, torch.inf))
    write_image(replace(checked, modules=(broken, *others)), world.facts, tmp_path / "image")
    front.probe("r8 on all", image=tmp_path / "image")
    [probed] = front.finish_probes()
    assert "PROBE_NOT_FINITE" in {violation.code for violation in probed.violations}


@pytest.mark.parametrize("content", [None, b"no image"], ids=["missing", "garbage"])
def test_image_that_cannot_be_read_is_refused(
    front: Front, tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "image").write_bytes(content)
    front.probe("r8 on all", image=tmp_path / "image")
    [probed] = front.finish_probes()
    assert [violation.code for violation in probed.violations] == ["PROBE_MISMATCH"]
    front.submit([5, 6, 7], model="r8 on all")
    front.finish()


def test_probe_passes_on_its_own_image_when_that_of_an_equal_one_has_gone(
    world: World, front: Front, tmp_path: Path
) -> None:
    front.probe("r8 on all", image=tmp_path / "gone")
    front.probe("r8 on all")
    found = [[v.code for v in probed.violations] for probed in front.finish_probes(2)]
    assert sorted(found) == [[], ["PROBE_MISMATCH"]]


def test_files_that_are_refused_are_named(world: World, front: Front) -> None:
    weights = world.adapters["r8 on all"] / "adapter_model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-100])
    front.probe("r8 on all")
    [probed] = front.finish_probes()
    weights.write_bytes(content)
    assert probed.violations
    assert "PROBE_MISMATCH" not in {violation.code for violation in probed.violations}


def test_failed_probe_spares_the_streams(
    world: World, front: Front, caplog: pytest.LogCaptureFixture
) -> None:
    stream = front.submit([5, 6, 7], model="r8 on all", max_tokens=4)
    layers, world.model.layers = world.model.layers, ()
    front.probe("r4 on q v")
    [probed] = front.finish_probes()
    world.model.layers = layers
    front.finish()
    assert [violation.found for violation in probed.violations] == ["the engine's step failed"]
    assert front.answers[stream].finished is not None
    assert "the probe of sha256:" in caplog.text


def test_probe_gets_room_while_another_adapter_keeps_coming(world: World) -> None:
    largest = max(path.stat().st_size for path in world.images.values())
    config = EngineConfig(kv_bytes=1_000_000, arena_bytes=largest)
    with closing(Front(world, config)) as front:
        front.submit([9], model="r8 on all", max_tokens=20)
        while not front.engine.scheduler.running:
            front.advance()
        front.probe("r64 on o")
        while not front.probed:
            assert len(front.answers) < 1000
            if not front.engine.scheduler.waiting:
                front.submit([9], model="r8 on all", max_tokens=20)
            front.advance()
        front.finish()
    assert front.probed[0].violations == []


def test_streams_go_on_while_a_probe_runs(front: Front) -> None:
    alone = front.submit([5, 6, 7, 8], model="r8 on all", max_tokens=30)
    front.finish()
    again = front.submit([5, 6, 7, 8], model="r8 on all", max_tokens=30)
    for model in LORAS:
        front.probe(model)
    front.finish_probes(len(LORAS))
    front.finish()
    assert front.answers[again].tokens == front.answers[alone].tokens
