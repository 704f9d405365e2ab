"""LoRA's backward pass as cases: the gradient of x, and those of A and B."""

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

DX, OUTER = "dx", "outer"
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
    cell: LoraCell, op: str, *, seed: int, device: torch.device, dtype: torch.dtype
) -> Case:
    """Draw a step's inputs, and the gradient of its outputs."""
    inputs = draw_inputs(cell, seed=seed, device=device, dtype=dtype)
    draw = torch.Generator(device).manual_seed(seed + 1)
    shape = len(inputs.x_TK), sum(cell.shape.out_features)
    g_TN = torch.randn(shape, generator=draw, device=device).to(dtype)
    parts = list(_parts(inputs, g_TN))
    parameters: dict[str, Value] = {"op": op, "site": cell.site, "rows": len(g_TN)}
    make = {DX: _dx_makers, OUTER: _outer_makers}[op]
    makers = make(inputs, g_TN, parts, load_arena(inputs))
    return Case(f"{op} {cell}", parameters, TOLERANCE[dtype], makers)


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """One adapter at slice j: its rows' inputs and gradients, and its matrices."""

    slot: int
    j: int
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
        for j, (a_RK, b_RN, columns) in enumerate(slices):
            yield _Part(slot, j, rows, inputs.x_TK[rows], g_TN[rows, columns], a_RK, b_RN)


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


def _outer_makers(
    inputs: LoraInputs, g_TN: Tensor, parts: list[_Part], loaded: LoadedSite
) -> Makers:
    """dA += dvᵀ x, dB += vᵀ g, in fp32; v and dv are at hand."""
    gradients = torch.zeros_like(loaded.arena.data, dtype=torch.float32)
    wanted = torch.zeros_like(gradients, dtype=torch.float64)
    v, dv = loaded.shrink(inputs.x_TK, Half.A), loaded.shrink(g_TN, Half.B)

    def places(part: _Part, flat: Tensor) -> tuple[Tensor, Tensor]:
        row = loaded.arena.table.row(part.slot, loaded.site)
        starts = int(row.a_at[part.j]), int(row.b_at[part.j])
        a_RK, b_RN = (
            flat[at : at + matrix.numel()].view(matrix.shape)
            for at, matrix in zip(starts, (part.a_RK, part.b_RN), strict=True)
        )
        return a_RK, b_RN

    for part in parts:
        x_TK, own_g, a_RK, b_RN = (
            tensor.double() for tensor in (part.x_TK, part.g_TN, part.a_RK, part.b_RN)
        )
        for place, gradient in zip(
            places(part, wanted),
            ((own_g @ b_RN.T).T @ x_TK, (x_TK @ a_RK.T).T @ own_g),
            strict=True,
        ):
            place.copy_(gradient)
    small = [(part.g_TN @ part.b_RN.T, part.x_TK @ part.a_RK.T) for part in parts]

    def ours() -> None:
        loaded.outer(inputs.x_TK, dv, gradients, Half.A)
        loaded.outer(g_TN, v, gradients, Half.B)

    def theirs() -> None:
        for part, (own_dv, own_v) in zip(parts, small, strict=True):
            a_RK, b_RN = places(part, gradients)
            a_RK += own_dv.T @ part.x_TK
            b_RN += own_v.T @ part.g_TN

    site = inputs.site
    read = len(g_TN) * (sum(site.out_features) + site.in_features) * g_TN.itemsize
    read += 2 * v.itemsize * sum(len(part.x_TK) * len(part.a_RK) for part in parts)
    work = _work(inputs, activation_bytes=read, weight_bytes=2 * gradients.itemsize)
    return _makers(ours, theirs, gradients, wanted, work)


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
