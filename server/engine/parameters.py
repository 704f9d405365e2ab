"""What the rows that draw at random ask of the sampler, one value a row, on the device."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .row import Row
from .transfer import to_device


class Parameters(NamedTuple):
    """Columns of the n rows that draw, and what holds for all of them.

    Attributes:
        row: int64, `[n]`, their places in the batch.
        seed, position: int64, `[n]`.
        k_B1: int64, `[n, 1]`, the vocabulary's size where nothing is cut.
        temperature_B1, p_B1, min_p_B1: float32, `[n, 1]`.
        largest_k: Of the rows where it is less than the vocabulary; None = of none.
        has_p, has_min_p: Whether any row is cut by it.
    """

    row: Tensor
    seed: Tensor
    position: Tensor
    k_B1: Tensor
    temperature_B1: Tensor
    p_B1: Tensor
    min_p_B1: Tensor
    largest_k: int | None
    has_p: bool
    has_min_p: bool


def send_parameters(
    rows: Sequence[Row], *, vocab_size: int, device: torch.device
) -> Parameters | None:
    """Send the parameters of the rows that draw, in one copy; None if all are greedy."""
    drawing = [i for i, row in enumerate(rows) if row.sampling.temperature > 0]
    if not drawing:
        return None
    asked = [rows[i].sampling for i in drawing]
    k = [min(sampling.top_k or vocab_size, vocab_size) for sampling in asked]
    cutting = [each for each in k if each < vocab_size]
    longs = [drawing, [_signed(s.seed) for s in asked], [rows[i].position for i in drawing], k]
    floats = [[s.temperature for s in asked], [s.top_p for s in asked], [s.min_p for s in asked]]
    columns = np.concatenate((np.array(longs, np.int64), np.array(floats).view(np.int64)))
    sent = to_device(columns, device)
    row, seed, position, k_B = sent[:4]
    temperature_B, p_B, min_p_B = sent[4:].view(torch.float64).float()
    return Parameters(
        row,
        seed,
        position,
        k_B[:, None],
        temperature_B[:, None],
        p_B[:, None],
        min_p_B[:, None],
        largest_k=max(cutting) if cutting else None,
        has_p=any(sampling.top_p < 1 for sampling in asked),
        has_min_p=any(sampling.min_p > 0 for sampling in asked),
    )


def _signed(seed: int) -> int:
    """The same 64 bits as int64."""
    return ((seed + 2**63) & (2**64 - 1)) - 2**63
