"""One product serves all members of a site, and each row's adapter is added to it once."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from weft.kernels import Arena, Site, group_rows
from weft.server.model.lora_linear import PackedHead, SiteLinear, SiteStep, Tap
from weft.server.model.product import Fp8, Int8, QuantisedProduct

K, WIDTHS, RANK = 64, (64, 128), 4
SITE = Site(K, WIDTHS, 0)


def make_site(step: SiteStep) -> tuple[SiteLinear, list[Tap], list[nn.Linear]]:
    torch.manual_seed(0)
    linears = [nn.Linear(K, width).requires_grad_(False) for width in WIDTHS]
    site = SiteLinear("qv", SITE, linears, step)
    return site, [Tap(site, place) for place in range(len(WIDTHS))], linears


def make_arena() -> tuple[Arena, list[tuple[Tensor, Tensor]]]:
    """Slot 0 targets both members; the matrices follow one another."""
    sizes = [(RANK * K, RANK * width) for width in WIDTHS]
    arena = Arena(
        sum(map(sum, sizes)), num_slots=1, num_slices=2, dtype=torch.float32, device="cpu"
    )
    arena.data.normal_()
    a_at, b_at, pairs, at = [], [], [], 0
    for (a_size, b_size), width in zip(sizes, WIDTHS, strict=True):
        a_at.append(at)
        b_at.append(at + a_size)
        a_RK = arena.data[at : at + a_size].view(RANK, K)
        pairs.append((a_RK, arena.data[at + a_size :][:b_size].view(RANK, width)))
        at += a_size + b_size
    arena.write_row(0, np.array(a_at), np.array(b_at), np.full(2, RANK, np.int32))
    return arena, pairs


@pytest.mark.parametrize("form", ["apart", "merged", "packed"])
@torch.inference_mode()
def test_taps_answer_as_their_linears(form: str) -> None:
    site, taps, linears = make_site(SiteStep())
    x = torch.randn(1, 5, K)
    expected = [linear(x) for linear in linears]
    if form != "apart":
        site.merge()
    if form == "packed":
        site.pack()
    for tap, y in zip(taps, expected, strict=True):
        torch.testing.assert_close(tap(x), y)


@torch.inference_mode()
def test_adapter_is_added_to_its_rows_and_base_rows_keep_their_bits() -> None:
    arena, pairs = make_arena()
    step = SiteStep(arena, group_rows(np.array([0, -1, 0])))
    site, taps, linears = make_site(step)
    site.merge()
    x = torch.randn(1, 3, K)
    for tap, linear, (a_RK, b_RN) in zip(taps, linears, pairs, strict=True):
        base, found = linear(x)[0], tap(x)[0]
        torch.testing.assert_close(found[0::2], base[0::2] + x[0, 0::2] @ a_RK.T @ b_RN)
        torch.testing.assert_close(found[1], base[1])


@pytest.mark.parametrize("product", [Int8, Fp8])
@torch.inference_mode()
def test_adapter_of_a_quantised_site_is_added_from_the_input_as_it_came(
    product: type[QuantisedProduct],
) -> None:
    arena, pairs = make_arena()
    step = SiteStep(arena, group_rows(np.array([0, -1, 0])))
    site, taps, _ = make_site(step)
    site.quantise(product)
    x = torch.randn(1, 3, K)
    adapted = [tap(x)[0] for tap in taps]
    step.arena = None
    for tap, found, (a_RK, b_RN) in zip(taps, adapted, pairs, strict=True):
        base = tap(x)[0]
        assert torch.equal(found[1], base[1])
        torch.testing.assert_close(found[0::2] - base[0::2], x[0, 0::2] @ a_RK.T @ b_RN)


@torch.inference_mode()
def test_site_runs_once_for_one_input_and_again_for_another() -> None:
    step = SiteStep(inputs={})
    assert step.inputs is not None
    site, taps, linears = make_site(step)
    x, other = torch.randn(2, 1, 3, K)
    taps[0](x)
    step.inputs.clear()
    taps[1](x)
    assert not step.inputs
    taps[0](x)
    assert list(step.inputs) == ["qv"]
    torch.testing.assert_close(taps[1](other), linears[1](other))
    torch.testing.assert_close(taps[0](other), linears[0](other))
    assert site._input is None


@torch.inference_mode()
def test_dropped_site_recomputes() -> None:
    site, taps, linears = make_site(SiteStep())
    x = torch.randn(1, 3, K)
    taps[0](x)
    site.drop()
    linears[1].weight.zero_()
    torch.testing.assert_close(taps[1](x), linears[1].bias.expand(1, 3, -1))


def test_tap_shows_the_weight_of_its_linear() -> None:
    _, taps, linears = make_site(SiteStep())
    assert taps[1].weight is linears[1].weight


@torch.inference_mode()
def test_packed_head_answers_any_number_of_rows() -> None:
    linear = nn.Linear(K, 32, bias=False).requires_grad_(False)
    x = torch.randn(1, 3, K)
    expected = linear(x)
    head = PackedHead(linear, tied=False)
    torch.testing.assert_close(head(x), expected)
    assert head(x[:, :0]).shape == (1, 0, 32)
