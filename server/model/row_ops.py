"""The ops that take the place of transformers' own code: the kernels, or the loops of a CPU."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from weft.kernels import reference_rows
from weft.kernels.norm import rmsnorm
from weft.kernels.rope import rope


class NormOp(NamedTuple):
    """What computes a norm.

    Attributes:
        proven: What is compared with the modules: the definition, or the op itself.
        multiple: Of the widths that it takes.
    """

    run: Callable[..., Tensor]
    proven: Callable[..., Tensor]
    multiple: int


class RopeOp(NamedTuple):
    """What rotates, and writes the cache.

    Attributes:
        interleaved: Whether it takes such pairs.
    """

    run: Callable[..., None]
    interleaved: bool


class RowOps(NamedTuple):
    """The ops of a device.

    Attributes:
        glu: Whether it has one for gated MLPs.
    """

    norm: NormOp
    rope: RopeOp
    glu: bool


KERNELS = RowOps(NormOp(rmsnorm, reference_rows.rmsnorm, 1), RopeOp(rope, interleaved=True), True)


def choose_row_ops(device: torch.device) -> RowOps:
    """The Triton kernels on a GPU, the loops of the CPU elsewhere."""
    if device.type == "cuda":
        return KERNELS
    from weft.kernels.norm_cpu import LINE, rmsnorm_cpu  # here, for numba need not be beside a GPU
    from weft.kernels.rope_cpu import rope_cpu

    return RowOps(
        NormOp(rmsnorm_cpu, rmsnorm_cpu, LINE), RopeOp(rope_cpu, interleaved=False), False
    )
