import pytest
import torch
from torch import Tensor

from weft.kernels.paged import PagedShape, check_paged, has_adjacent_heads

TENSORS = {
    "q": torch.zeros(3, 6, 8),
    "k_cache": torch.zeros(5, 16, 2, 8),
    "v_cache": torch.zeros(5, 16, 2, 4),
    "block_table": torch.zeros(3, 4, dtype=torch.int32),
}


def check(changed: dict[str, Tensor], scaling: float = 1.0) -> PagedShape:
    return check_paged(*(TENSORS | changed).values(), scaling=scaling)


def test_sizes_are_read_off_the_tensors() -> None:
    found = check({"block_table": TENSORS["block_table"][:, :2]})
    assert found == PagedShape(block_tokens=16, num_kv_heads=2, group=3, head_dim=8, v_head_dim=4)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"k_cache": TENSORS["k_cache"].half()}, r"k_cache is torch\.float16, q torch\.float32"),
        ({"k_cache": torch.zeros(5, 2, 16, 8).transpose(1, 2)}, r"k_cache .* is not contiguous"),
        ({"q": torch.zeros(6, 3, 8).transpose(0, 1)}, r"heads of q \(3, 6, 8\) are not adjacent"),
        ({"v_cache": torch.zeros(5, 8, 2, 4)}, r"keys .* do not fit together"),
        ({"q": torch.zeros(3, 6, 4)}, r"queries \(3, 6, 4\) do not fit together"),
        ({"q": torch.zeros(3, 5, 8)}, "5 query heads are no multiple of 2 KV heads"),
        ({"block_table": torch.zeros(3, 4)}, r"block_table is torch\.float32, not int32"),
        ({"block_table": torch.zeros(4, 3, dtype=torch.int32).T}, "not int32 in contiguous rows"),
    ],
)
def test_wrong_input_is_refused(changed: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check(changed)


def test_heads_are_adjacent_in_a_slice_of_a_merged_output() -> None:
    assert has_adjacent_heads(torch.zeros(3, 100)[:, :48].view(3, 6, 8))
    assert has_adjacent_heads(torch.zeros(1, 3, 8).transpose(0, 1))
    assert not has_adjacent_heads(torch.zeros(6, 3, 8).transpose(0, 1))
    assert not has_adjacent_heads(torch.zeros(3, 6, 16)[:, :, ::2])


@pytest.mark.parametrize("scaling", [0.0, -1.0, float("nan")])
def test_scaling_that_is_not_positive_is_refused(scaling: float) -> None:
    with pytest.raises(ValueError, match="is not positive"):
        check({}, scaling)
