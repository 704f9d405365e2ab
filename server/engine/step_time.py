"""How long a step takes: a fit of its tokens and of the keys and values it reads, kept up to date.

    seconds ≈ c0 + c1 · tokens + c2 · KV tokens,  each c ≥ 0

Least squares over the latest steps, older ones fading, drawn a little towards the price list, which
stands alone until steps were seen.
"""

import numpy as np
import numpy.typing as npt

from .prices import Prices

FADE = 0.99  # weight of a step beside the next one: about a hundred steps count
OUTLIER = 4.0  # times the prediction; a longer step counts as this long
PULL = 0.01  # of the price list, beside a step of one unit of each
LEAST_TOKEN_S = 1e-9
UNITS = np.array([1.0, 64.0, 4096.0])  # steps, tokens, KV tokens

Floats = npt.NDArray[np.float64]


class StepTime:
    """Learns from the steps that ran, predicts those that are planned."""

    def __init__(self, prices: Prices) -> None:
        self._prior = UNITS * (0.0, prices.prefill_us / 1e6, prices.kv_us / 1e6)
        self._normal = np.zeros((3, 3))
        self._moment = np.zeros(3)
        self._fit = self._prior
        self.num_observed = 0

    def observe(self, num_tokens: int, kv_tokens: int, seconds: float) -> None:
        """Learn from a step."""
        row = _row(num_tokens, kv_tokens)
        seconds = min(seconds, OUTLIER * self.predict_s(num_tokens, kv_tokens))
        self._normal = FADE * self._normal + np.outer(row, row)
        self._moment = FADE * self._moment + row * seconds
        self._fit = self._solve()
        self.num_observed += 1

    def predict_s(self, num_tokens: int, kv_tokens: int) -> float:
        return float(_row(num_tokens, kv_tokens) @ self._fit)

    def tokens_within(self, seconds: float, *, kv_tokens: int) -> int:
        """Most tokens of a step that ends in time."""
        c0, c1, c2 = self._fit / UNITS
        return int(max(0.0, seconds - c0 - c2 * kv_tokens) / max(c1, LEAST_TOKEN_S))

    def _solve(self) -> Floats:
        """Least squares with no coefficient below 0: what comes out negative is left out."""
        normal, moment = self._normal + PULL * np.eye(3), self._moment + PULL * self._prior
        used = [0, 1, 2]
        while True:
            fit = np.zeros(3)
            fit[used] = np.linalg.solve(normal[np.ix_(used, used)], moment[used])
            if (fit >= 0).all():
                return fit
            used = [i for i in used if fit[i] > 0]


def _row(num_tokens: int, kv_tokens: int) -> Floats:
    row: Floats = np.array([1.0, num_tokens, kv_tokens]) / UNITS
    return row
