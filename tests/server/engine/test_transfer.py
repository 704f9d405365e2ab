"""Copies between host and device."""

import numpy as np
import pytest
import torch

from weft.server.engine.transfer import Fetched, to_device


def test_on_a_cpu_nothing_is_copied() -> None:
    array = np.arange(6, dtype=np.int64)
    tensor = to_device(array, torch.device("cpu"))
    [found] = Fetched(tensor).read()
    array[2] = 9
    assert found.tolist() == [0, 1, 9, 3, 4, 5]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_what_is_fetched_is_what_was_sent_and_computed() -> None:
    device = torch.device("cuda")
    arrays = [np.full(100_000, i, dtype=np.int64) for i in range(20)]
    fetched = [Fetched(to_device(array, device) + 1, to_device(array, device)) for array in arrays]
    for i, found in enumerate(fetched):
        more, same = found.read()
        assert more.is_pinned()
        assert (more == i + 1).all()
        assert (same == i).all()
