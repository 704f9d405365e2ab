"""Pinned memory, on a machine that has a CUDA device."""

import numpy as np
import pytest
import torch

from weft.adapters.image import Image
from weft.server.engine.staging import PIECE_BYTES, Staging

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def image(digest: str, size: int) -> Image:
    data = torch.arange(size, dtype=torch.float32)
    none = np.zeros(0, np.int64)
    return Image(digest, "layout", data, none, none, none.astype(np.int32))


@pytest.mark.parametrize("host_elements", [0, PIECE_BYTES], ids=["page cache", "pinned"])
def test_bytes_arrive_whole_from_either_memory(host_elements: int) -> None:
    arena = torch.full([PIECE_BYTES], torch.nan, device="cuda")
    staging = Staging(host_elements, arena)
    source = image("a", PIECE_BYTES // 4)
    held = staging.hold(source)
    assert held.data.is_pinned() == bool(host_elements)
    staging.copy(arena[: source.num_elements], held.data)
    assert torch.equal(arena[: source.num_elements].cpu(), source.data)


def test_dropped_image_makes_room() -> None:
    staging = Staging(1000, torch.zeros(1, device="cuda"))
    assert staging.hold(image("a", 900)).data.is_pinned()
    assert not staging.hold(image("b", 200)).data.is_pinned()
    staging.drop("a")
    assert staging.hold(image("b", 200)).data.is_pinned()
