"""The laws by which rows choose their adapters."""

import numpy as np
import pytest

from weft.bench.popularity import LAWS, draw_adapters, draw_zipf, zipf_shares


def sizes(law: str, num_rows: int, seed: int = 0) -> list[int]:
    """Rows of every adapter, largest first."""
    ids = draw_adapters(law, num_rows, np.random.default_rng(seed))
    assert ids.dtype == np.int32
    return sorted(np.bincount(ids).tolist(), reverse=True)


@pytest.mark.parametrize(
    ("law", "expected"),
    [
        ("identical", [32]),
        ("uniform", [6, 6, 5, 5, 5, 5]),
        ("distinct", [1] * 32),
        ("skewed", [16] + [1] * 16),
    ],
)
def test_law_gives_its_groups(law: str, expected: list[int]) -> None:
    assert sizes(law, 32) == expected


def test_skewed_gives_the_odd_row_to_the_popular_adapter() -> None:
    assert sizes("skewed", 5) == [3, 1, 1]


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("num_rows", [0, 1, 7, 256])
def test_ids_have_no_gap_and_come_from_the_seed(law: str, num_rows: int) -> None:
    ids = draw_adapters(law, num_rows, np.random.default_rng(5))
    assert len(ids) == num_rows
    assert set(ids.tolist()) == set(range(ids.max(initial=-1) + 1))
    again = draw_adapters(law, num_rows, np.random.default_rng(5))
    assert np.array_equal(ids, again)


def test_rows_are_shuffled() -> None:
    ids = draw_adapters("uniform", 64, np.random.default_rng(0))
    assert not np.array_equal(ids, np.sort(ids))
    assert not np.array_equal(ids, np.arange(64) % 8)


def test_popularity_says_nothing_of_the_id() -> None:
    top = [
        int(np.bincount(draw_adapters(law, 64, np.random.default_rng(seed))).argmax())
        for law in ("skewed", "zipf 1.5")
        for seed in range(20)
    ]
    assert len(set(top)) > 10


@pytest.mark.parametrize(
    ("num", "alpha", "largest", "ten"),
    [
        (100, 0.9, 16, 50),
        (100, 1.2, 28, 68),
        (200, 0.9, 13, 43),
        (200, 1.0, 17, 50),
        (200, 1.5, 40, 81),
        (1000, 0.9, 10, 31),
        (1000, 1.2, 23, 57),
    ],
)
def test_zipf_has_its_shares(num: int, alpha: float, largest: int, ten: int) -> None:
    shares = 100 * zipf_shares(num, alpha)
    assert round(shares[0]) == largest
    assert round(shares[:10].sum()) == ten


def test_zipf_draws_come_in_their_shares() -> None:
    draws = draw_zipf(200_000, 64, alpha=1.0, draw=np.random.default_rng(0))
    found = np.bincount(draws, minlength=64) / len(draws)
    assert len(found) == 64
    assert np.abs(found - zipf_shares(64, 1.0)).max() < 0.003


def test_unknown_law_is_refused() -> None:
    with pytest.raises(ValueError, match="popularity 'zipf:9' is not one of identical, uniform"):
        draw_adapters("zipf:9", 3, np.random.default_rng(0))
