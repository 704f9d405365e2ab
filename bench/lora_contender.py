"""What every way to add LoRA is given in `weft bench kernels`, and what it has to add."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from weft.kernels import Site

from .lora_cells import LoraCell
from .popularity import Ints

AddDelta = Callable[[Tensor], None]


@dataclass(frozen=True, slots=True, eq=False)
class LoraInputs:
    """One cell's tensors, all on one device and of one dtype. Contenders leave them as they are.

    Attributes:
        slot_T: int32, on the host; -1 = a base row.
        has_prefill: Whether some rows are prefill, so that an adapter has many of them.
        ranks: Of every slot, the same in each slice.
        a: By slot, then slice: A `[r, K]`.
        b: By slot, then slice: B `[r, n]`, scaling folded in.
    """

    site: Site
    slot_T: Ints
    has_prefill: bool
    ranks: tuple[int, ...]
    a: tuple[tuple[Tensor, ...], ...]
    b: tuple[tuple[Tensor, ...], ...]
    x_TK: Tensor

    @property
    def num_slots(self) -> int:
        return len(self.ranks)

    @property
    def max_rank(self) -> int:
        """The largest rank in the cell; 0 if all rows are base."""
        return max(self.ranks, default=0)


class LoraContender(Protocol):
    """A way to add every row's own adapter to a site's output."""

    @property
    def name(self) -> str: ...

    def prepare(self, inputs: LoraInputs) -> AddDelta:
        """Lay out pools and metadata for these inputs, and return what is timed.

        The result adds the delta to a contiguous y `[T, N]` in place. It is called eagerly, and
        captured in a CUDA graph: it neither waits for the device nor reads it from the host.

        Raises:
            PeerMissing: A package is not installed.
            NotApplicable: This contender cannot run these inputs.
        """
        ...


def draw_inputs(
    cell: LoraCell, *, seed: int, device: torch.device, dtype: torch.dtype
) -> LoraInputs:
    """Random inputs of magnitudes that make deltas near 1."""
    draw = torch.Generator(device).manual_seed(seed)

    def normal(rows: int, columns: int, scale: float) -> Tensor:
        values = torch.randn(rows, columns, generator=draw, device=device)
        return values.mul_(scale).to(dtype)

    site, ranks, slot_T = cell.shape, cell.draw_ranks(seed), cell.batch.draw_slots(seed)
    return LoraInputs(
        site=site,
        slot_T=slot_T,
        has_prefill=cell.batch.has_prefill,
        ranks=ranks,
        a=tuple(
            tuple(normal(r, site.in_features, site.in_features**-0.5) for _ in site.out_features)
            for r in ranks
        ),
        b=tuple(tuple(normal(r, n, r**-0.5) for n in site.out_features) for r in ranks),
        x_TK=normal(len(slot_T), site.in_features, 1.0),
    )


def define_delta(inputs: LoraInputs) -> Tensor:
    """What has to be added, `[T, N]` in float64: a loop over slots and slices."""
    site, x_TK = inputs.site, inputs.x_TK
    delta_TN = x_TK.new_zeros(len(x_TK), sum(site.out_features), dtype=torch.float64)
    for slot, (slices_a, slices_b) in enumerate(zip(inputs.a, inputs.b, strict=True)):
        rows = torch.from_numpy(np.flatnonzero(inputs.slot_T == slot)).to(x_TK.device)
        own_x = x_TK[rows].double()
        for a_RK, b_RN, columns in zip(slices_a, slices_b, site.outputs, strict=True):
            delta_TN[rows, columns] = own_x @ a_RK.double().T @ b_RN.double()
    return delta_TN
