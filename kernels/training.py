"""Adapters in training: many of them in one mixed batch, differentiated by the ops that serve.

Parameters lie in one flat tensor, laid out like the arena of a server, and so do their gradients:

    lent = lend(params_E, dtype=torch.bfloat16)  # once for every forward pass
    y_TN = add_lora(y_TN, x_TK, segments, lent=lent, table=table, site=site, scaling=scaling_CJ)
    loss.backward()  # adds to params_E.grad: flat, fp32
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import FunctionCtx, once_differentiable

from . import training_cpu
from .expand import expand
from .outer import outer
from .segments import Segments
from .shrink import shrink
from .table import Half, OffsetTable, Site


class Products(NamedTuple):
    """One way to run the three ops; their signatures are those of `reference`."""

    shrink: Callable[..., Tensor]
    expand: Callable[..., None]
    outer: Callable[..., None]


TRITON = Products(shrink, expand, outer)
CPU = Products(training_cpu.shrink, training_cpu.expand, training_cpu.outer)


class Sums:
    """Gradients of lent parameters, added up over the sites until autograd takes them.

    They are those of one backward pass. A pass that stops at the activations takes none, and what
    it leaves is not in the next one's.
    """

    def __init__(self, params_E: Tensor) -> None:
        self._params_E = params_E
        self._sums_E: Tensor | None = None
        self._pass: int | None = None

    def open(self) -> Tensor:
        """The flat tensor to add to; the first site of a backward pass makes it."""
        current = torch._C._current_graph_task_id()
        if self._sums_E is None or self._pass != current:
            dtype = torch.promote_types(self._params_E.dtype, torch.float32)
            self._sums_E = torch.zeros_like(self._params_E, dtype=dtype)
            self._pass = current
        return self._sums_E

    def take(self) -> Tensor:
        sums_E = self.open()
        self._sums_E = None
        return sums_E


@dataclass(frozen=True, slots=True, eq=False)
class Lent:
    """Parameters lent to the sites of one forward pass.

    Attributes:
        arena: Their values, in the dtype of the activations.
        tie: Empty; what autograd follows from the sites back to the parameters.
        sums: Their gradients so far.
    """

    arena: Tensor
    tie: Tensor
    sums: Sums


def lend(params_E: Tensor, *, dtype: torch.dtype) -> Lent:
    """Lend flat parameters to the sites of one forward pass.

    The gradient is made once for all sites, not once for each: a flat tensor, zero where nothing
    was trained, and fp32 where the parameters are.
    """
    sums = Sums(params_E)
    tie = _Collect.apply(params_E, sums)  # type: ignore[no-untyped-call]
    assert isinstance(tie, Tensor)
    return Lent(params_E.detach().to(dtype), tie, sums)


def add_lora(
    y_TN: Tensor,
    x_TK: Tensor,
    segments: Segments,
    *,
    lent: Lent,
    table: OffsetTable,
    site: Site,
    scaling: Tensor,
    keep_v: bool = True,
    products: Products | None = None,
) -> Tensor:
    """Add each row's adapter to y_TN, in place and differentiably.

    Semantics, for segment s with slot c, and slice j of the site with rank r > 0:
        rows = order[indptr[s]:indptr[s + 1]]
        v = scaling[c, site.first + j] * x_TK[rows] @ A(c, j).T
        y_TN[rows, columns j] += v @ B(c, j)
    and backward, with g = dL/dy:
        dv = scaling[c, site.first + j] * g[rows, columns j] @ B(c, j).T
        dx[rows] += dv @ A(c, j)
        dA(c, j) += dv.T @ x_TK[rows]
        dB(c, j) += v.T @ g[rows, columns j]
    Base rows and absent slices cost nothing. Sums are fp32, slices and runs of tokens in order.

    Args:
        y_TN: The merged output of the site's Linears; dtype of x_TK and of lent.arena.
        x_TK: Contiguous. Kept for the backward pass, as are segments and table: change none before.
        scaling: `[slots, table columns]`, fp32. It is no parameter.
        keep_v: Keep v for the backward pass, else compute it again there.
        products: How to run; None = by Triton on CUDA, else by the CPU path.

    Raises:
        ValueError: Dtypes disagree, or a tensor is not contiguous or has another width.
    """
    _check(y_TN, x_TK, lent, site)
    products = products or (TRITON if x_TK.is_cuda else CPU)
    call = _Call(segments, table, site, scaling, lent, keep_v, products)
    sum_TN = _AddLora.apply(y_TN, x_TK, lent.tie, call)  # type: ignore[no-untyped-call]
    assert isinstance(sum_TN, Tensor)
    return sum_TN


def _check(y_TN: Tensor, x_TK: Tensor, lent: Lent, site: Site) -> None:
    for name, tensor, half in (("x", x_TK, Half.A), ("y", y_TN, Half.B)):
        if tensor.dtype != lent.arena.dtype:
            raise ValueError(f"{name} is {tensor.dtype}, the arena {lent.arena.dtype}")
        width = site.width(half)
        if not tensor.is_contiguous() or tensor.shape[1] != width:
            raise ValueError(f"{name} {tuple(tensor.shape)} is not contiguous [T, {width}]")


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    segments: Segments
    table: OffsetTable
    site: Site
    scaling: Tensor
    lent: Lent
    keep_v: bool
    products: Products

    def shrink(self, x_TK: Tensor, arena: Tensor, half: Half) -> Tensor:
        return self.products.shrink(
            x_TK,
            self.segments,
            arena=arena,
            table=self.table,
            site=self.site,
            half=half,
            scaling=self.scaling,
        )

    def expand(self, y_TN: Tensor, v: Tensor, arena: Tensor, half: Half) -> None:
        self.products.expand(
            y_TN, v, self.segments, arena=arena, table=self.table, site=self.site, half=half
        )

    def outer(self, x_TK: Tensor, v: Tensor, half: Half) -> None:
        self.products.outer(
            x_TK,
            v,
            self.segments,
            gradients=self.lent.sums.open(),
            table=self.table,
            site=self.site,
            half=half,
        )


class _Context(FunctionCtx):
    """What autograd gives its functions, and what these keep there."""

    needs_input_grad: tuple[bool, ...]
    saved_tensors: tuple[Tensor, ...]
    call: _Call
    sums: Sums


class _Collect(Function):
    """Stands between the parameters and all sites, and so runs after the backward of every site."""

    @staticmethod
    def forward(ctx: _Context, params_E: Tensor, sums: Sums) -> Tensor:
        ctx.sums = sums
        return params_E.new_empty(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, _tie: Tensor) -> tuple[Tensor, None]:
        return ctx.sums.take(), None


class _AddLora(Function):
    @staticmethod
    def forward(ctx: _Context, y_TN: Tensor, x_TK: Tensor, _tie: Tensor, call: _Call) -> Tensor:
        arena = call.lent.arena
        v = call.shrink(x_TK, arena, Half.A)
        call.expand(y_TN, v, arena, Half.B)
        ctx.mark_dirty(y_TN)
        ctx.save_for_backward(x_TK, arena, *([v] if call.keep_v else []))
        ctx.call = call
        return y_TN

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, g_TN: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        call, (x_TK, arena, *kept) = ctx.call, ctx.saved_tensors
        _needs_y, needs_x, needs_params, _ = ctx.needs_input_grad
        g_TN = g_TN.contiguous()
        dv = call.shrink(g_TN, arena, Half.B)
        dx_TK = None
        if needs_x:
            dx_TK = torch.zeros_like(x_TK)
            call.expand(dx_TK, dv, arena, Half.A)
        if needs_params:
            v = kept[0] if kept else call.shrink(x_TK, arena, Half.A)
            call.outer(x_TK, dv, Half.A)
            call.outer(g_TN, v, Half.B)
        return g_TN, dx_TK, None, None
