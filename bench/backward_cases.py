"""LoRA's backward pass as cases: the gradient of x."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from weft.kernels import Half

from .floors import Work
from .lora_cells import CORE_SITES, SMALL_SITES, Batch, LoraCell
from .lora_contender import LoraInputs, draw_inputs
from .record import Value
from .trials import OURS, TOLERANCE, Case, Run, Trial, relative_error
from .weft_lora import LoadedSite, load_arena

DX = "dx"
TORCH = "torch"
NUM_LAUNCHES = 2
ROWS = Batch(prefill_rows=8192, prefill_adapters=8)
SMALL_ROWS = Batch(prefill_rows=12, prefill_adapters=2)


def backward_cells(*, small: bool) -> Iterator[LoraCell]:
    """A step of training: eight adapters of rank 16 at every site; or a small one."""
    sites, batch = (SMALL_SITES, SMALL_ROWS) if small else (CORE_SITES, ROWS)
    for site in sites:
        yield LoraCell(site, (16,), batch)


def make_backward_case(
    cell: LoraCell, *, seed: int, device: torch.device, dtype: torch.dtype
) -> Case:
    """Draw a step's inputs, and the gradient of its outputs."""
    inputs = draw_inputs(cell, seed=seed, device=device, dtype=dtype)
    draw = torch.Generator(device).manual_seed(seed + 1)
    shape = len(inputs.x_TK), sum(cell.shape.out_features)
    g_TN = torch.randn(shape, generator=draw, device=device).to(dtype)
    parts = list(_parts(inputs, g_TN))
    parameters: dict[str, Value] = {"op": DX, "site": cell.site, "rows": len(g_TN)}
    makers = _dx_makers(inputs, g_TN, parts, load_arena(inputs))
    return Case(f"{DX} {cell}", parameters, TOLERANCE[dtype], makers)


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """One adapter at one slice: its rows' inputs and gradients, and its matrices."""

    rows: slice
    x_TK: Tensor
    g_TN: Tensor
    a_RK: Tensor
    b_RN: Tensor


def _parts(inputs: LoraInputs, g_TN: Tensor) -> Iterator[_Part]:
    """Prefill rows lie in runs, so each adapter's are a slice."""
    for slot in range(inputs.num_slots):
        own = np.flatnonzero(inputs.slot_T == slot)
        rows = slice(int(own[0]), int(own[-1]) + 1)
        slices = zip(inputs.a[slot], inputs.b[slot], inputs.site.outputs, strict=True)
        for a_RK, b_RN, columns in slices:
            yield _Part(rows, inputs.x_TK[rows], g_TN[rows, columns], a_RK, b_RN)


Makers = dict[str, Callable[[], Trial]]


def _dx_makers(inputs: LoraInputs, g_TN: Tensor, parts: list[_Part], loaded: LoadedSite) -> Makers:
    """dv = g Bᵀ, dx += dv A: shrink and expand with the halves exchanged."""
    dx_TK = torch.zeros_like(inputs.x_TK)
    wanted_TK = torch.zeros_like(dx_TK, dtype=torch.float64)
    for part in parts:
        wanted_TK[part.rows] += part.g_TN.double() @ part.b_RN.double().T @ part.a_RK.double()

    def ours() -> None:
        v = loaded.shrink(g_TN, Half.B)
        loaded.expand(dx_TK, v, Half.A)

    def theirs() -> None:
        for part in parts:
            dx_TK[part.rows].addmm_(part.g_TN @ part.b_RN.T, part.a_RK)

    site = inputs.site
    activations = len(g_TN) * (sum(site.out_features) + 2 * site.in_features)
    work = _work(inputs, activation_bytes=g_TN.itemsize * activations, weight_bytes=g_TN.itemsize)
    return _makers(ours, theirs, dx_TK, wanted_TK, work)


def _work(inputs: LoraInputs, *, activation_bytes: int, weight_bytes: int) -> Work:
    width = sum(inputs.site.in_features + n for n in inputs.site.out_features)
    ranks_T = sum(inputs.ranks[slot] for slot in inputs.slot_T)
    return Work(
        num_bytes=activation_bytes + weight_bytes * sum(inputs.ranks) * width,
        flops=2 * ranks_T * width,
    )


def _makers(ours: Run, theirs: Run, found: Tensor, wanted: Tensor, work: Work) -> Makers:
    def reset() -> None:
        found.zero_()

    def error_of(run: Run) -> float:
        reset()
        run()
        return relative_error(found, wanted)

    return {
        OURS: lambda: Trial(ours, reset, error_of, work, num_launches=NUM_LAUNCHES),
        TORCH: lambda: Trial(theirs, reset, error_of, work),
    }
