"""Popularity laws: which adapter each row of a step uses. Pure: a generator in, ids out."""

import math

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int32]

ZIPF_ADAPTERS = 64
ZIPF_ALPHA = {"zipf 1.0": 1.0, "zipf 1.5": 1.5}
LAWS = ("identical", "uniform", "distinct", *ZIPF_ALPHA, "skewed")


def draw_adapters(law: str, num_rows: int, draw: np.random.Generator) -> Ints:
    """The adapter of every row: ids from 0 without a gap, rows and ids in random order.

    identical: one adapter. uniform: the square root of the rows, in equal groups. distinct: one
    for each row. zipf: draws from 64. skewed: half the rows on one, the others distinct.

    Raises:
        ValueError: No such law.
    """
    if num_rows == 0:
        return np.zeros(0, np.int32)
    drawn = _by_law(law, num_rows, draw)
    shuffled = draw.permutation(int(drawn.max()) + 1)[drawn]
    _, ids = np.unique(shuffled, return_inverse=True)
    return draw.permutation(ids).astype(np.int32)


def zipf_shares(num: int, alpha: float) -> npt.NDArray[np.float64]:
    """The probability of each of `num` adapters, most popular first: P(k) of k to the -alpha."""
    weights = np.arange(1, num + 1) ** -alpha
    shares: npt.NDArray[np.float64] = weights / weights.sum()
    return shares


def draw_zipf(
    num_draws: int, num: int, *, alpha: float, draw: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Draw from `num` adapters by the inverse of the cumulative distribution; 0 is the top one."""
    cumulated = np.cumsum(zipf_shares(num, alpha))
    return np.searchsorted(cumulated[:-1], draw.random(num_draws), side="right")


def _by_law(law: str, num_rows: int, draw: np.random.Generator) -> npt.NDArray[np.int64]:
    rows = np.arange(num_rows)
    match law:
        case "identical":
            return np.zeros_like(rows)
        case "uniform":
            return rows % math.ceil(math.sqrt(num_rows))
        case "distinct":
            return rows
        case "skewed":
            return (rows - (num_rows + 1) // 2 + 1).clip(0)
        case _ if law in ZIPF_ALPHA:
            return draw_zipf(num_rows, ZIPF_ADAPTERS, alpha=ZIPF_ALPHA[law], draw=draw)
    raise ValueError(f"popularity {law!r} is not one of {', '.join(LAWS)}")
