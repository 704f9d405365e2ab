"""Where an adapter's matrices lie in its image, and in which dtype.

Site by site: all A's one after another, then all B's; each begins at a 128-byte boundary. Nothing
is stored for a slice without an adapter, and no rank is padded.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .sites import BaseFacts

ALIGN_BYTES = 128
SERVING_DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Columns of the offset table for one adapter, relative to its image's first element.

    Attributes:
        a_at: int64 [J], in elements; 0 where the slice is absent.
        b_at: int64 [J], in elements; 0 where the slice is absent.
        rank: int32 [J]; 0 = absent.
        num_elements: Of the image, alignment included.
    """

    a_at: NDArray[np.int64]
    b_at: NDArray[np.int64]
    rank: NDArray[np.int32]
    num_elements: int


def serving_dtype(facts: BaseFacts) -> torch.dtype:
    return SERVING_DTYPES[facts.dtype]


def fold_scaling(b_NR: Tensor, scaling: float, dtype: torch.dtype) -> Tensor:
    """Return scaling · Bᵀ [R, N], multiplied in float32 and rounded once to `dtype`."""
    return (b_NR.float() * scaling).to(dtype).T.contiguous()


def place_slices(facts: BaseFacts, ranks: Mapping[str, int]) -> Placement:
    """Lay out an adapter with these ranks, by module path."""
    align = ALIGN_BYTES // serving_dtype(facts).itemsize
    a_at = np.zeros(facts.num_slices, np.int64)
    b_at = np.zeros(facts.num_slices, np.int64)
    rank = np.zeros(facts.num_slices, np.int32)
    at = column = 0
    for site in facts.sites:
        slices = [(j, m) for j, m in enumerate(site.members, column) if m.name in ranks]
        for j, member in slices:
            rank[j], a_at[j] = ranks[member.name], at
            at += _align(ranks[member.name] * site.in_features, align)
        for j, member in slices:
            b_at[j] = at
            at += _align(ranks[member.name] * member.out_features, align)
        column += len(site.members)
    return Placement(a_at, b_at, rank, at)


def _align(size: int, align: int) -> int:
    return -(-size // align) * align
