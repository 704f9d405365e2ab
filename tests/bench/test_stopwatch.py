"""Times on a GPU."""

import pytest
import torch

from weft.bench.stopwatch import Stopwatch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_every_sample_is_reset_and_run_and_takes_time() -> None:
    device = torch.device("cuda")
    stopwatch = Stopwatch(device)
    x, resets = torch.zeros(1 << 24, device=device), []
    replay = stopwatch.capture(lambda: x.add_(1))
    x.zero_()
    for sample in (stopwatch.cold_us, stopwatch.warm_us, stopwatch.eager_us):
        samples = sample(replay, lambda: resets.append(0), 4)
        assert len(samples) == 4
        assert 5 < min(samples) < 1e5
    assert len(resets) == 12
    assert float(x[0]) == 12
