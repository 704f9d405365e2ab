"""Philox against its authors' vectors, and the shape of the noise."""

import math

import pytest
import torch

from weft.kernels.noise import gumbel, philox


def words(text: str) -> list[torch.Tensor]:
    return [torch.tensor([int(word, 16)]) for word in text.split()]


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ("0 0 0 0", "0 0", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        (
            "ffffffff ffffffff ffffffff ffffffff",
            "ffffffff ffffffff",
            "408f276d 41c83b0e a20bc7c6 6d5451fd",
        ),
        (
            "243f6a88 85a308d3 13198a2e 03707344",
            "a4093822 299f31d0",
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
    ids=["zeros", "ones", "pi"],
)
def test_philox_gives_the_published_words(counter: str, key: str, expected: str) -> None:
    k0, k1 = words(key)
    assert philox(tuple(words(counter)), (k0, k1)) == tuple(words(expected))


def test_noise_is_a_function_of_seed_position_and_token_alone() -> None:
    seed = torch.tensor([5, 5, 7, 5, -1])
    position = torch.tensor([0, 1, 0, 0, 0])
    group = torch.tensor([3, 3, 3, 4, 3])
    together = gumbel(seed, position, group)
    assert len({tuple(row) for row in together.tolist()}) == 5
    for i in range(5):
        alone = gumbel(seed[i : i + 1], position[i : i + 1], group[i : i + 1])
        assert torch.equal(alone[0], together[i])


def test_high_half_of_the_seed_counts() -> None:
    zero = torch.zeros(1, dtype=torch.int64)
    assert not torch.equal(gumbel(zero + 1, zero, zero), gumbel(zero + 1 + 2**40, zero, zero))


def test_noise_is_gumbel_distributed() -> None:
    group = torch.arange(25_000)
    noise = gumbel(torch.zeros_like(group), torch.zeros_like(group), group).flatten().double()
    assert noise.mean().item() == pytest.approx(0.5772, abs=0.02)
    assert noise.var().item() == pytest.approx(math.pi**2 / 6, rel=0.03)
    for threshold in (-1.0, 0.0, 1.0, 3.0):
        share = (noise < threshold).double().mean().item()
        assert share == pytest.approx(math.exp(-math.exp(-threshold)), abs=0.006)
    assert noise.min() > -3.2
    assert noise.max() < 23
