"""Random streams."""

import torch

from weft.adapters.seeds import MAX_SEED, draw_seed, stream, stream_seed


def test_streams_of_one_seed_are_independent_and_repeatable() -> None:
    drawn = {name: torch.rand(8, generator=stream(7, name)) for name in ("init", "order")}
    assert not torch.equal(drawn["init"], drawn["order"])
    assert torch.equal(torch.rand(8, generator=stream(7, "init")), drawn["init"])
    assert stream_seed(7, "init") != stream_seed(8, "init")


def test_stream_is_the_same_on_every_machine() -> None:
    assert stream_seed(0, "split") == 0x81914893268769


def test_seeds_are_drawn_within_bounds() -> None:
    drawn = {draw_seed() for _ in range(100)}
    assert len(drawn) > 90
    assert all(0 <= seed <= MAX_SEED for seed in drawn)
