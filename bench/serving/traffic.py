"""How requests come: their gaps, their lengths, and which adapter each asks for. Pure draws."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from weft.bench.popularity import draw_zipf

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MAX_PROMPT = 8192
SHARES = (0, 0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.99, 0.999, 1)
AZURE_PROMPTS = (2, 181, 207, 396, 1020, 1189, 2734, 4083, 4142, 6179, 14050)
AZURE_OUTPUTS = (7, 41, 54, 85, 129, 395, 424, 451, 601, 954, 1000)
"""Quantiles of the Azure LLM inference trace 2023, conversation (CC-BY), at SHARES."""


class Lengths(NamedTuple):
    """Tokens of prompts and of completions, pair by pair."""

    prompts: Ints
    outputs: Ints


@dataclass(frozen=True, slots=True)
class Uniform:
    """Prompts and outputs, each a uniform integer in [low, high)."""

    prompt: tuple[int, int]
    output: tuple[int, int]

    def draw(self, num: int, draw: np.random.Generator) -> Lengths:
        return Lengths(draw.integers(*self.prompt, num), draw.integers(*self.output, num))


@dataclass(frozen=True, slots=True)
class Azure:
    """Pairs of the trace in `file`; without it, each length from the trace's quantiles.

    Attributes:
        file: CSV with the columns ContextTokens and GeneratedTokens.
    """

    file: Path | None = None

    def draw(self, num: int, draw: np.random.Generator) -> Lengths:
        """Draw pairs; prompts are cut at MAX_PROMPT.

        Raises:
            ValueError: The file has other columns.
        """
        if self.file is None:
            prompts = _by_quantiles(AZURE_PROMPTS, num, draw)
            return Lengths(prompts.clip(max=MAX_PROMPT), _by_quantiles(AZURE_OUTPUTS, num, draw))
        pairs = read_trace(self.file)
        chosen = pairs[draw.integers(len(pairs), size=num)]
        return Lengths(chosen[:, 0].clip(max=MAX_PROMPT), chosen[:, 1])


def read_trace(file: Path) -> Ints:
    """Pairs of prompt and completion tokens, a row each; empty completions are left out."""
    with file.open(newline="") as rows:
        reader = csv.DictReader(rows)
        if not {"ContextTokens", "GeneratedTokens"} <= set(reader.fieldnames or ()):
            raise ValueError(f"{file} has no columns ContextTokens and GeneratedTokens")
        pairs = [(int(row["ContextTokens"]), int(row["GeneratedTokens"])) for row in reader]
    return np.array([pair for pair in pairs if min(pair) > 0], np.int64).reshape(-1, 2)


def _by_quantiles(quantiles: Sequence[int], num: int, draw: np.random.Generator) -> Ints:
    return np.interp(draw.random(num), SHARES, quantiles).round().astype(np.int64)


def draw_times(rate: float, seconds: float, *, cv: float, draw: np.random.Generator) -> Floats:
    """Arrivals in [0, seconds): gaps of Gamma(1 / cv², cv² / rate); cv 1 is Poisson."""
    times: Floats = np.zeros(0)
    while not len(times) or times[-1] < seconds:
        gaps = draw.gamma(1 / cv**2, cv**2 / rate, size=max(16, int(rate * seconds)))
        times = np.concatenate([times, (times[-1] if len(times) else 0) + np.cumsum(gaps)])
    return times[times < seconds]


def draw_places(popularity: str, num: int, num_adapters: int, draw: np.random.Generator) -> Ints:
    """Which of `num_adapters` each of `num` requests asks for; who is popular is drawn as well.

    Args:
        popularity: `identical`, `uniform`, `distinct` (round robin), or `zipf` and its exponent.

    Raises:
        ValueError: No such popularity.
    """
    match popularity.split():
        case ["identical"]:
            return np.zeros(num, np.int64)
        case ["uniform"]:
            return draw.integers(num_adapters, size=num)
        case ["distinct"]:
            return np.arange(num, dtype=np.int64) % num_adapters
        case ["zipf", alpha]:
            ranked = draw_zipf(num, num_adapters, alpha=float(alpha), draw=draw)
            return draw.permutation(num_adapters)[ranked].astype(np.int64)
    raise ValueError(f"popularity {popularity!r} is not known")
