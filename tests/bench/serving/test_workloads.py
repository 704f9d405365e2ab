"""The tables of the workloads."""

import pytest

from weft.bench.serving.plan import AdapterSpec
from weft.bench.serving.workloads import make_runs
from weft.bench.shapes import SHAPES

NAMES = ("W1", "W2", "W3", "W4", "W5", "W6")


def test_images_have_the_sizes_that_the_goals_are_stated_for() -> None:
    size = AdapterSpec("a", 64).image_bytes(SHAPES["8b"])
    assert size / 1e6 == pytest.approx(335.5, abs=0.1)
    qv = AdapterSpec("a", 64, ("q_proj", "v_proj")).image_bytes(SHAPES["8b"])
    assert qv / 1e6 == pytest.approx(54.5, abs=0.1)


@pytest.mark.parametrize("shape", ["82m", "tiny"])
def test_small_variants_share_one_server_and_their_time(shape: str) -> None:
    runs = {name: make_runs(name, small=shape, seconds=None, trace=None) for name in NAMES}
    assert len({run.setting for own in runs.values() for run in own}) == 1
    for own in runs.values():
        assert sum(run.seconds for run in own) == pytest.approx(8)
    setting = runs["W1"][0].setting
    assert (len(setting.adapters), setting.num_tenants) == (16, 4)
    images = [spec.image_bytes(SHAPES[shape]) for spec in setting.adapters]
    assert sum(images[:8]) <= setting.arena_bytes < sum(images)


def test_goals_find_the_runs_that_they_are_stated_for() -> None:
    cases = {
        run.case for name in NAMES for run in make_runs(name, small=None, seconds=None, trace=None)
    }
    assert {
        "W1 base, capacity",
        "W2 S1 n=2000, capacity",
        "W2 S1 n=5, capacity",
        "W2 cliff n=16",
        "W2 cliff n=32",
        "W4 churn",
        "W6 with",
    } <= cases


def test_cliff_has_twice_as_many_adapters_as_fit() -> None:
    runs = make_runs("W2", small=None, seconds=None, trace=None)
    [run] = [run for run in runs if run.name == "cliff n=32"]
    image = run.setting.adapters[0].image_bytes(SHAPES["8b"])
    assert run.setting.arena_bytes // image == 16
    assert len(run.setting.adapters) == 32
