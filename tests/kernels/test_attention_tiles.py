import pytest
import torch

from weft.kernels.attention_tiles import (
    DECODE,
    PREFILL,
    PREFILL_SM80,
    decode_tile,
    num_splits,
    padded,
    prefill_tile,
)

CPU = torch.device("cpu")


def test_every_width_and_dtype_that_is_served_has_tiles() -> None:
    for head_dim in range(1, 257):
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            assert decode_tile(head_dim, dtype).block_n >= 16
            assert prefill_tile(head_dim, dtype, CPU).block_n >= 16
    assert set(DECODE) == set(PREFILL) == set(PREFILL_SM80)


def test_narrow_heads_share_a_tile_and_wide_ones_do_not() -> None:
    assert decode_tile(20, torch.float32) == decode_tile(64, torch.bfloat16) == DECODE[128]
    assert decode_tile(80, torch.bfloat16) == DECODE[256]
    assert prefill_tile(256, torch.float16, CPU) == PREFILL[512]


def test_wider_heads_are_refused() -> None:
    with pytest.raises(ValueError, match="head_dim 257 exceeds the 256 of the attention kernels"):
        decode_tile(257, torch.bfloat16)


def test_widths_are_padded_to_what_a_dot_takes() -> None:
    assert [padded(width) for width in (1, 16, 17, 80, 128)] == [16, 16, 32, 128, 128]


def test_interpreter_splits_a_little() -> None:
    assert num_splits(8, CPU) == 3
