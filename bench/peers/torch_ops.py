"""What one writes without a kernel: matmuls per segment, and one batched matmul over rows."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from weft.bench.errors import NotApplicable
from weft.bench.lora_contender import AddDelta, LoraInputs

from .pools import choose_pool

GATHER_LIMIT_BYTES = 8 << 30


@dataclass(frozen=True, slots=True)
class Loop:
    """Matmuls of each slot's rows, which are gathered and added back."""

    name: str = "loop"

    def prepare(self, inputs: LoraInputs) -> AddDelta:
        """Of every slot: its rows, its A's below one another, its B's."""
        x_TK, outputs = inputs.x_TK, inputs.site.outputs
        segments = [
            (_on_device(np.flatnonzero(inputs.slot_T == slot), x_TK), torch.cat(a).T, rank, b)
            for slot, (rank, a, b) in enumerate(zip(inputs.ranks, inputs.a, inputs.b, strict=True))
        ]

        def add_delta(y_TN: Tensor) -> None:
            for rows, a_KR, rank, slices in segments:
                v_TR = x_TK[rows] @ a_KR
                for j, (b_RN, columns) in enumerate(zip(slices, outputs, strict=True)):
                    own_TR = v_TR[:, j * rank : (j + 1) * rank]
                    y_TN[:, columns].index_add_(0, rows, own_TR @ b_RN)

        return add_delta


@dataclass(frozen=True, slots=True)
class Bmm:
    """Gather A and B of every row, padded to the largest rank, and multiply them as a batch."""

    name: str = "bmm"

    def prepare(self, inputs: LoraInputs) -> AddDelta:
        """Pools of the cell's slots at its largest rank.

        Raises:
            NotApplicable: No adapters, or what is gathered exceeds GATHER_LIMIT_BYTES.
        """
        pool = choose_pool(inputs)
        adapted = np.flatnonzero(inputs.slot_T >= 0)
        _check_gather(inputs, pool.rank * len(adapted))
        rows = _on_device(adapted, inputs.x_TK)
        slots = _on_device(inputs.slot_T[adapted], inputs.x_TK)
        slices = list(
            zip(pool.split_a(inputs), pool.split_b(inputs), inputs.site.outputs, strict=True)
        )

        def add_delta(y_TN: Tensor) -> None:
            x_TK1 = inputs.x_TK[rows, :, None]
            for a_CRK, b_CNR, columns in slices:
                v_TR1 = torch.bmm(a_CRK[slots], x_TK1)
                y_TN1 = torch.baddbmm(y_TN[rows, columns, None], b_CNR[slots], v_TR1)
                y_TN[:, columns].index_copy_(0, rows, y_TN1[..., 0])

        return add_delta


def _check_gather(inputs: LoraInputs, num_rank_rows: int) -> None:
    site = inputs.site
    widest = site.in_features + max(site.out_features)
    gathered_bytes = num_rank_rows * widest * inputs.x_TK.element_size()
    if gathered_bytes > GATHER_LIMIT_BYTES:
        raise NotApplicable(f"gathers {gathered_bytes / 1e9:.0f} GB")


def _on_device(numbers: np.ndarray[tuple[int, ...], np.dtype[np.generic]], like: Tensor) -> Tensor:
    return torch.from_numpy(numbers.astype(np.int64)).to(like.device)
