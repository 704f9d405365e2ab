from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from weft.kernels import Site, group_rows, reference
from weft.kernels.training import CPU, TRITON, Products, add_lora, lend

from .cases import (
    DTYPES,
    LAWS,
    NUM_SLICES,
    ODD,
    OUT,
    QKV,
    RUNS,
    TRITON_RUNS,
    Ints,
    Loader,
    Run,
    assert_near,
    by_triton,
    random_pairs,
    random_scaling,
    slots_by_law,
)

DEFINITION = Products(reference.shrink, reference.expand, reference.outer)


class Passed(NamedTuple):
    """A pass forward and back, with a random gradient of y."""

    y_TN: Tensor
    dy_TN: Tensor
    dx_TK: Tensor
    dparams_E: Tensor


def products_of(run: Run) -> Products | None:
    return TRITON if run.add_lora is by_triton else None


def params_of(run: Run) -> Tensor:
    """Trainable fp32 parameters that the run's dtype holds exactly; padding is zero."""
    return run.arena.data.float().nan_to_num(0).requires_grad_()


def pass_through(run: Run, slot_T: Ints, site: Site, *, keep_v: bool = True) -> Passed:
    params_E = params_of(run)
    x_TK = run.random(len(slot_T), site.in_features).requires_grad_()
    y_TN = run.random(len(slot_T), sum(site.out_features), seed=1).requires_grad_()
    sum_TN = add_lora(
        y_TN.clone(),
        x_TK,
        run.group(slot_T),
        lent=lend(params_E, dtype=run.dtype),
        table=run.arena.table,
        site=site,
        scaling=random_scaling(run),
        keep_v=keep_v,
        products=products_of(run),
    )
    sum_TN.backward(run.random(*sum_TN.shape, seed=2))  # type: ignore[no-untyped-call]
    assert y_TN.grad is not None
    assert x_TK.grad is not None
    assert params_E.grad is not None
    return Passed(sum_TN.detach(), y_TN.grad, x_TK.grad, params_E.grad)


def plain(
    run: Run, y_TN: Tensor, x_TK: Tensor, params_E: Tensor, slot_T: Ints, site: Site
) -> Tensor:
    """The op in differentiable torch: one product per row and slice."""
    rows, scaling = [], random_scaling(run)
    for t, slot in enumerate(slot_T.tolist()):
        row = run.arena.table.row(slot, site)
        parts = []
        for j, columns in enumerate(site.outputs):
            part = y_TN[t, columns]
            r, n = int(row.rank[j]) if slot >= 0 else 0, columns.stop - columns.start
            if r > 0:
                a_at, b_at = int(row.a_at[j]), int(row.b_at[j])
                a_RK = params_E[a_at : a_at + r * site.in_features].view(r, -1)
                b_RN = params_E[b_at : b_at + r * n].view(r, n)
                part = part + scaling[slot, site.first + j] * (x_TK[t] @ a_RK.T @ b_RN)
            parts.append(part)
        rows.append(torch.cat(parts))
    return torch.stack(rows)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize(
    ("law", "site"),
    [*((law, QKV) for law in LAWS), ("uniform", ODD)],
    ids=[*LAWS, "odd"],
)
def test_results_and_gradients_equal_autograd_of_the_definition(
    run: Run, law: str, site: Site
) -> None:
    slot_T = slots_by_law(law, 13)
    got = pass_through(run, slot_T, site)
    params_E = params_of(run)
    x_TK = run.random(13, site.in_features).float().requires_grad_()
    y_TN = run.random(13, sum(site.out_features), seed=1).float().requires_grad_()
    sum_TN = plain(run, y_TN, x_TK, params_E, slot_T, site)
    g_TN = run.random(*sum_TN.shape, seed=2).float()
    want = torch.autograd.grad(
        sum_TN, (y_TN, x_TK, params_E), g_TN, allow_unused=True, materialize_grads=True
    )
    assert got.dparams_E.dtype == torch.float32
    for name, one, other in zip(Passed._fields, got, (sum_TN, *want), strict=True):
        assert_near(name, one, other.detach(), tolerance=run.tolerance)
    assert not got.dparams_E[want[2] == 0].any()
    assert not got.dx_TK[torch.from_numpy(slot_T < 0)].any()


@pytest.mark.parametrize("run", TRITON_RUNS)
def test_gradients_of_an_adapter_do_not_depend_on_its_company(run: Run) -> None:
    """Slot 0 keeps its rows alone; the rest changes slot, rank and number."""
    few = np.array([0, -1, 0, 0], np.int32)
    many = np.concatenate([few, slots_by_law("uniform", 14) % 7 + 1]).astype(np.int32)
    many[1] = 7
    alone, crowded = (pass_through(run, slot_T, QKV) for slot_T in (few, many))
    row = run.arena.table.row(0, QKV)
    begin, end = int(row.a_at[0]), int(row.b_at[2]) + int(row.rank[2]) * 32
    assert torch.equal(crowded.dx_TK[[0, 2, 3]], alone.dx_TK[[0, 2, 3]])
    assert alone.dparams_E[begin:end].any()
    assert torch.equal(crowded.dparams_E[begin:end], alone.dparams_E[begin:end])


@pytest.mark.parametrize("run", RUNS)
def test_same_input_gives_the_same_bits_with_v_kept_or_not(run: Run) -> None:
    slot_T = slots_by_law("with_base", 11)
    first, again = (pass_through(run, slot_T, QKV, keep_v=keep_v) for keep_v in (True, False))
    for name, one, other in zip(Passed._fields, again, first, strict=True):
        assert torch.equal(one, other), name


class Small:
    """Two adapters on one small site, in fp64 on the CPU."""

    site = Site(in_features=5, out_features=(3, 2), first=0)

    def __init__(self, products: Products) -> None:
        loader = Loader(torch.float64, num_elements=300, num_slots=2, device="cpu")
        loader.arena.data.zero_()
        loader.load(0, {self.site: random_pairs(self.site, (2, 0), seed=0)})
        loader.load(1, {self.site: random_pairs(self.site, (1, 3), seed=1)})
        self.table = loader.arena.table
        self.params_E = loader.arena.data.requires_grad_()
        draw = torch.Generator().manual_seed(0)
        self.scaling = torch.rand(2, NUM_SLICES, generator=draw, dtype=torch.float64) + 0.5
        self.segments = group_rows(np.array([1, 0, -1, 1], np.int32))
        self.products = products

    def inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        draw = torch.Generator().manual_seed(1)
        shapes = ((4, 5), (4, 5))
        y_TN, x_TK = (torch.randn(s, generator=draw, dtype=torch.float64) for s in shapes)
        return y_TN.requires_grad_(), x_TK.requires_grad_(), self.params_E

    def __call__(self, y_TN: Tensor, x_TK: Tensor, params_E: Tensor) -> Tensor:
        return add_lora(
            y_TN.clone(),
            x_TK,
            self.segments,
            lent=lend(params_E, dtype=torch.float64),
            table=self.table,
            site=self.site,
            scaling=self.scaling,
            products=self.products,
        )


@pytest.mark.parametrize("products", [CPU, DEFINITION], ids=["cpu", "definition"])
def test_gradients_equal_differences_in_float64(products: Products) -> None:
    small = Small(products)
    assert torch.autograd.gradcheck(small, small.inputs())


def test_gradients_of_two_passes_through_one_graph_are_told_apart() -> None:
    small = Small(CPU)
    inputs = small.inputs()
    sum_TN = small(*inputs)
    first = [g.clone() for g in torch.autograd.grad(sum_TN.sum(), inputs, retain_graph=True)]
    second = torch.autograd.grad(sum_TN.sum(), inputs)
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)


def test_pass_that_stops_at_the_activations_leaves_nothing_to_the_next() -> None:
    small = Small(CPU)
    y_TN, x_TK, params_E = small.inputs()
    loss = small(y_TN, x_TK, params_E).square().sum()
    wanted = torch.autograd.grad(loss, params_E, retain_graph=True)[0]
    torch.autograd.grad(loss, x_TK, retain_graph=True)
    assert torch.equal(torch.autograd.grad(loss, params_E)[0], wanted)


def test_sites_and_micro_batches_add_up_in_one_flat_gradient() -> None:
    run = Run(by_triton, "cpu", torch.float32)
    params_E = params_of(run)
    slot_T = slots_by_law("uniform", 9)

    def loss(sites: Sequence[Site]) -> Tensor:
        lent = lend(params_E, dtype=torch.float32)
        total = torch.zeros(())
        for site in sites:
            y_TN = add_lora(
                torch.zeros(9, sum(site.out_features)),
                run.random(9, site.in_features),
                run.group(slot_T),
                lent=lent,
                table=run.arena.table,
                site=site,
                scaling=random_scaling(run),
            )
            total = total + (y_TN * run.random(*y_TN.shape, seed=3)).sum()
        return total

    def gradient(sites: Sequence[Site]) -> Tensor:
        return torch.autograd.grad(loss(sites), params_E)[0]

    want = 2 * gradient([QKV]) + gradient([OUT])
    loss([QKV, OUT]).backward()  # type: ignore[no-untyped-call]
    loss([QKV]).backward()  # type: ignore[no-untyped-call]
    assert params_E.grad is not None
    assert_near("two micro-batches", params_E.grad, want, tolerance=1e-6)
    assert_near("one site twice", gradient([QKV, OUT, QKV]), want, tolerance=1e-6)


def test_parameters_alone_and_activations_alone_are_differentiated() -> None:
    small = Small(CPU)
    y_TN, x_TK, params_E = small.inputs()
    wanted = torch.autograd.grad(small(y_TN, x_TK, params_E).sum(), (x_TK, params_E))
    first_layer = small(y_TN.detach(), x_TK.detach(), params_E)
    assert torch.equal(torch.autograd.grad(first_layer.sum(), params_E)[0], wanted[1])
    frozen = small(y_TN, x_TK, params_E.detach())
    assert torch.equal(torch.autograd.grad(frozen.sum(), x_TK)[0], wanted[0])
    assert not small(y_TN.detach(), x_TK.detach(), params_E.detach()).requires_grad


def test_b_of_zero_adds_nothing_and_leaves_a_without_gradient() -> None:
    run = Run(by_triton, "cpu", torch.float32)
    slot_T, row = np.full(3, 1, np.int32), run.arena.table.row(1, QKV)
    params_E = params_of(run).detach()
    first, last = int(row.b_at[0]), int(row.b_at[2]) + 16 * 32
    params_E[first:last] = 0
    params_E.requires_grad_()
    y_TN = add_lora(
        torch.zeros(3, 128),
        run.random(3, 96),
        run.group(slot_T),
        lent=lend(params_E, dtype=torch.float32),
        table=run.arena.table,
        site=QKV,
        scaling=random_scaling(run),
    )
    (gradient,) = torch.autograd.grad(y_TN.sum(), params_E)
    assert not y_TN.any()
    assert not gradient[:first].any()
    assert (gradient[first : first + 16 * 80] != 0).all()


def test_y_is_changed_in_place_and_parameters_are_rounded_to_its_dtype() -> None:
    run = Run(by_triton, "cpu", torch.bfloat16)
    params_E = (params_of(run).detach() * (1 + 2**-12)).requires_grad_()
    y_TN = torch.zeros(4, 128, dtype=torch.bfloat16)
    segments = run.group(np.full(4, 1, np.int32))
    table, scaling = run.arena.table, random_scaling(run)
    lent = lend(params_E, dtype=torch.bfloat16)
    x_TK = run.random(4, 96)
    sum_TN = add_lora(y_TN, x_TK, segments, lent=lent, table=table, site=QKV, scaling=scaling)
    assert sum_TN is y_TN
    assert y_TN.requires_grad
    assert torch.equal(lent.arena, params_E.detach().bfloat16())
    sum_TN.float().sum().backward()  # type: ignore[no-untyped-call]
    assert params_E.grad is not None
    assert params_E.grad.dtype == torch.float32


def test_change_of_the_parameters_before_the_backward_pass_is_noticed() -> None:
    small = Small(CPU)
    sum_TN = small(*small.inputs())
    with torch.no_grad():
        small.params_E += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        sum_TN.sum().backward()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("y_TN", "x_TK", "message"),
    [
        (torch.zeros(4, 128), torch.zeros(4, 96).half(), r"x is torch\.float16, the arena"),
        (torch.zeros(4, 128).half(), torch.zeros(4, 96), r"y is torch\.float16, the arena"),
        (torch.zeros(4, 129), torch.zeros(4, 96), r"y \(4, 129\) is not contiguous \[T, 128\]"),
        (torch.zeros(4, 128), torch.zeros(96, 4).T, r"x \(4, 96\) is not contiguous"),
    ],
)
def test_wrong_input_is_refused(y_TN: Tensor, x_TK: Tensor, message: str) -> None:
    run = Run(by_triton, "cpu", DTYPES["fp32"])
    with pytest.raises(ValueError, match=message):
        add_lora(
            y_TN,
            x_TK,
            run.group(np.zeros(4, np.int32)),
            lent=lend(params_of(run), dtype=torch.float32),
            table=run.arena.table,
            site=QKV,
            scaling=random_scaling(run),
        )
