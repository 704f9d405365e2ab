from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from weft.adapters.errors import Refused
from weft.adapters.evidence import Evidence
from weft.adapters.probe import (
    NUM_TOKENS,
    TOLERANCES,
    SiteCapture,
    check_probe,
    measure_errors,
    plain_delta,
    probe_tokens,
)
from weft.adapters.sites import BaseFacts, Member, Site
from weft.adapters.weights import CheckedAdapter, CheckedModule

SITES = (
    Site("qkv", 48, (Member("q", 48), Member("k", 16), Member("v", 16))),
    Site("o", 48, (Member("o", 48),)),
)
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
LOGITS = torch.linspace(-1, 1, 2 * 8).view(2, 8)
OTHER = LOGITS + 0.25


def facts(dtype: str) -> BaseFacts:
    return BaseFacts("b", "sha256:b", frozenset(), dtype, SITES, {}, 8, 8, "", "")


def make_module(name: str, rank: int, num_out: int, scaling: float) -> CheckedModule:
    a, b = torch.randn(rank, 48), torch.randn(num_out, rank)
    return CheckedModule(name, rank, scaling, a, b)


@pytest.fixture
def adapter() -> CheckedAdapter:
    torch.manual_seed(0)
    o, q = make_module("o", 1, 48, 0.3), make_module("q", 5, 48, 2.0)
    v = make_module("v", 3, 16, 1e-4)
    return CheckedAdapter("sha256:a", (o, q, v), (), Evidence.NAME, "float32")


def capture(adapter: CheckedAdapter, dtype: str) -> list[SiteCapture]:
    """What an engine captures that computes with A and scaling · B in its serving dtype."""
    modules = {module.name: module for module in adapter.modules}
    captures = []
    for site in SITES:
        x_TK = torch.randn(NUM_TOKENS, site.in_features).to(DTYPES[dtype])
        deltas = [serve(x_TK, modules.get(m.name), m.out_features) for m in site.members]
        captures.append(SiteCapture(site.name, x_TK, torch.cat(deltas, dim=1)))
    return captures


def serve(x_TK: Tensor, module: CheckedModule | None, num_out: int) -> Tensor:
    if module is None:
        return torch.zeros(len(x_TK), num_out, dtype=x_TK.dtype)
    a_RK, b_RN = module.serve(x_TK.dtype)
    return (x_TK.float() @ a_RK.float().T @ b_RN.float()).to(x_TK.dtype)


def judge(
    adapter: CheckedAdapter,
    captures: list[SiteCapture],
    *,
    dtype: str = "float32",
    adapted: Tensor = OTHER,
    allow_no_effect: bool = False,
) -> list[tuple[str, str]]:
    """The refusal's codes and paths; none if the adapter holds."""
    try:
        check_probe(
            adapter,
            facts(dtype),
            captures,
            base_logits_TV=LOGITS,
            adapted_logits_TV=adapted,
            allow_no_effect=allow_no_effect,
        )
    except Refused as refused:
        return [(violation.code, violation.path) for violation in refused.violations]
    return []


def test_the_probes_tokens_are_fixed_and_in_the_vocabulary() -> None:
    for vocab_size in (2, 320, 32_000, 151_936):
        tokens = probe_tokens(vocab_size)
        assert len(tokens) == 32
        assert tokens == probe_tokens(vocab_size)
        assert all(0 <= token < vocab_size for token in tokens)
    assert len(set(probe_tokens(32_000))) == 32


def test_the_definition_is_scaling_times_b_a(adapter: CheckedAdapter) -> None:
    module = adapter.modules[1]
    x_TK = torch.randn(3, 48)
    weight_NK = module.scaling * module.b.double() @ module.a.double()
    torch.testing.assert_close(plain_delta(x_TK, module), x_TK.double() @ weight_NK.T)


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_engine_that_computes_the_definition_passes(dtype: str, adapter: CheckedAdapter) -> None:
    result = check_probe(
        adapter,
        facts(dtype),
        capture(adapter, dtype),
        base_logits_TV=LOGITS,
        adapted_logits_TV=OTHER,
    )
    assert 0 < result.largest_error < TOLERANCES[dtype] / 2
    assert result.logit_change == 0.25


MISTAKES: dict[str, Callable[[CheckedModule], CheckedModule]] = {
    "scaling twice": lambda m: replace(m, scaling=m.scaling**2),
    "one value of A": lambda m: replace(m, a=m.a + 8 * torch.eye(m.rank, 48)),
    "ranks in another order": lambda m: replace(m, b=m.b.flip(1)),
    "B of another module": lambda m: replace(m, b=m.b.flip(0)),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=list(MISTAKES))
def test_a_packing_mistake_is_found_in_the_smallest_slice_too(
    mistake: Callable[[CheckedModule], CheckedModule], dtype: str, adapter: CheckedAdapter
) -> None:
    *others, v = adapter.modules
    packed = replace(adapter, modules=(*others, mistake(v)))
    assert judge(adapter, capture(packed, dtype), dtype=dtype) == [("PROBE_MISMATCH", "v")]


def test_an_adapter_that_did_not_take_effect_at_a_site_is_found(adapter: CheckedAdapter) -> None:
    captures = capture(replace(adapter, modules=adapter.modules[1:]), "float32")
    assert judge(adapter, captures) == [("PROBE_MISMATCH", "o")]


def test_a_site_that_was_not_captured_is_found(adapter: CheckedAdapter) -> None:
    assert judge(adapter, capture(adapter, "float32")[:1]) == [("PROBE_MISMATCH", "o")]


def test_a_delta_where_no_adapter_is_is_found(adapter: CheckedAdapter) -> None:
    captures = capture(adapter, "float32")
    captures[0].delta_TN[0, 48] = 1e-9
    assert measure_errors(adapter, facts("float32"), captures)["k"] == float("inf")
    assert judge(adapter, captures) == [("PROBE_MISMATCH", "k")]


def test_a_delta_that_is_not_a_number_is_found(adapter: CheckedAdapter) -> None:
    captures = capture(adapter, "float32")
    captures[0].delta_TN[3, 3] = torch.nan
    assert judge(adapter, captures) == [("PROBE_MISMATCH", "q")]


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_logits_that_are_not_finite_are_refused(value: float, adapter: CheckedAdapter) -> None:
    adapted = OTHER.clone()
    adapted[1, 3] = value
    captures = capture(adapter, "float32")
    assert judge(adapter, captures, adapted=adapted) == [("PROBE_NOT_FINITE", "")]


def test_an_adapter_that_leaves_the_logits_alone_is_refused_unless_allowed(
    adapter: CheckedAdapter,
) -> None:
    captures = capture(adapter, "float32")
    assert judge(adapter, captures, adapted=LOGITS) == [("NO_EFFECT", "")]
    assert judge(adapter, captures, adapted=LOGITS, allow_no_effect=True) == []


def test_a_zero_module_has_no_error(adapter: CheckedAdapter) -> None:
    *others, v = adapter.modules
    zero = replace(adapter, modules=(*others, replace(v, b=torch.zeros_like(v.b))))
    assert measure_errors(zero, facts("float32"), capture(zero, "float32"))["v"] == 0.0
    assert judge(zero, capture(zero, "float32")) == []


def test_all_that_is_wrong_comes_back_together(adapter: CheckedAdapter) -> None:
    captures = capture(replace(adapter, modules=adapter.modules[:1]), "float32")
    assert judge(adapter, captures, adapted=LOGITS * torch.nan) == [
        ("PROBE_MISMATCH", "q"),
        ("PROBE_MISMATCH", "v"),
        ("PROBE_NOT_FINITE", ""),
    ]
