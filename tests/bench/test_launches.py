"""Empty kernels, as many as are asked for."""

from weft.bench.launches import MAX_LAUNCHES, launch_empty, measure_launches

from .stopwatches import FakeStopwatch


def test_kernel_that_does_nothing_can_be_launched() -> None:
    launch_empty(2)


def test_every_number_of_launches_has_its_floor() -> None:
    assert measure_launches(FakeStopwatch()) == tuple(range(1, MAX_LAUNCHES + 1))
