"""Logits before the draw: biases, then penalties on what was said, then what may not come.

The order is that of `generate` in transformers. Only rows that ask for something are touched.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .row import Row
from .transfer import to_device


def adjust(logits_BV: Tensor, rows: Sequence[Row]) -> None:
    """Change the logits of the rows that ask for it, in place."""
    biased = [(i, *entry) for i, row in enumerate(rows) for entry in _biases(row)]
    if biased:
        place, bias = _entries(biased, logits_BV)
        logits_BV.index_put_(place, bias[0], accumulate=True)
    penalised = [(i, *entry) for i, row in enumerate(rows) for entry in _penalties(row)]
    if penalised:
        place, (presence, frequency, repetition) = _entries(penalised, logits_BV)
        found = logits_BV[place]
        found = torch.where(found < 0, found * repetition, found / repetition)
        logits_BV.index_put_(place, found - presence - frequency)
    formed = [i for i, row in enumerate(rows) if row.allowed is not None]
    if formed:
        words = np.stack([row.allowed for row in rows if row.allowed is not None])
        index = to_device(np.array(formed), logits_BV.device)
        logits_BV[index] = logits_BV[index].masked_fill(~_bits(words, logits_BV), -torch.inf)
    barred = [(i, token) for i, row in enumerate(rows) for token in row.barred]
    if barred:
        place, _ = _entries(barred, logits_BV)
        logits_BV.index_put_(place, logits_BV.new_full((), -torch.inf))


def _biases(row: Row) -> Iterable[tuple[int, float]]:
    return row.sampling.logit_bias.items()


def _penalties(row: Row) -> Iterable[tuple[int, float, float, float]]:
    """Each token said so far, with what to take off its logit and what to scale it by."""
    sampling = row.sampling
    for token, count in (row.counts or {}).items():
        presence = sampling.presence_penalty if count else 0.0
        yield token, presence, sampling.frequency_penalty * count, sampling.repetition_penalty


def _bits(words: npt.NDArray[np.uint32], like: Tensor) -> Tensor:
    """One bool for every token, `[rows, V]`."""
    packed = to_device(words.view(np.uint8), like.device)
    shifts = torch.arange(8, dtype=torch.uint8, device=like.device)
    bits = (packed[:, :, None] >> shifts) & 1
    return bits.flatten(1)[:, : like.shape[-1]].bool()


def _entries(
    entries: Sequence[tuple[float, ...]], like: Tensor
) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Row and token of each entry, and its values, `[values, entries]`."""
    columns = to_device(np.array(entries, np.float64).T.copy(), like.device)
    row, token = columns[:2].long()
    return (row, token), columns[2:].to(like.dtype)
