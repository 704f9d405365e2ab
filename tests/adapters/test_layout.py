from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from weft.adapters.layout import ALIGN_BYTES, fold_scaling, place_slices, serving_dtype
from weft.adapters.sites import BaseFacts, Member, Site

SITES = (
    Site("qkv", 24, (Member("q", 24), Member("k", 7), Member("v", 7))),
    Site("o", 24, (Member("o", 24),)),
    Site("gate_up", 24, (Member("gate", 64), Member("up", 64))),
)
NAMES = tuple(member.name for site in SITES for member in site.members)


def facts(dtype: str = "float32") -> BaseFacts:
    return BaseFacts("b", "sha256:b", frozenset(), dtype, SITES, {}, 8, 8, "", "")


def test_nothing_is_placed_for_no_adapter() -> None:
    placement = place_slices(facts(), {})
    assert placement.num_elements == 0
    assert not placement.rank.any()
    assert len(placement.rank) == len(placement.a_at) == len(placement.b_at) == len(NAMES)


def test_a_site_holds_its_as_and_then_its_bs_at_aligned_places() -> None:
    placement = place_slices(facts(), {"q": 2, "v": 3, "up": 1})
    assert placement.rank.tolist() == [2, 0, 3, 0, 0, 1]
    assert placement.a_at.tolist() == [0, 0, 64, 0, 0, 64 + 96 + 64 + 32]
    assert placement.b_at.tolist() == [160, 0, 224, 0, 0, 288]
    assert placement.num_elements == 288 + 64


def test_the_dtypes_of_the_tables_are_those_of_the_offset_table() -> None:
    placement = place_slices(facts(), {"q": 2})
    dtypes = [column.dtype for column in (placement.a_at, placement.b_at, placement.rank)]
    assert dtypes == [np.dtype(np.int64), np.dtype(np.int64), np.dtype(np.int32)]


@given(
    ranks=st.dictionaries(st.sampled_from(NAMES), st.integers(1, 40)),
    dtype=st.sampled_from(["float32", "float16", "bfloat16"]),
)
def test_matrices_are_aligned_disjoint_and_dense(ranks: dict[str, int], dtype: str) -> None:
    base = facts(dtype)
    item = serving_dtype(base).itemsize
    placement = place_slices(base, ranks)
    spans = []
    for j, (site, member) in enumerate(base.members.values()):
        rank = ranks.get(member.name, 0)
        assert placement.rank[j] == rank
        if rank:
            spans.append((placement.a_at[j], rank * site.in_features))
            spans.append((placement.b_at[j], rank * member.out_features))
    at = 0
    for start, size in sorted(spans):
        assert start * item % ALIGN_BYTES == 0
        assert 0 <= (start - at) * item < ALIGN_BYTES
        at = start + size
    assert 0 <= (placement.num_elements - at) * item < ALIGN_BYTES


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("stored", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_scaling_is_folded_with_one_rounding(dtype: torch.dtype, stored: torch.dtype) -> None:
    torch.manual_seed(0)
    b_NR = torch.randn(9, 4).to(stored)
    folded = fold_scaling(b_NR, 1 / 3, dtype)
    exact = (b_NR.double() / 3).T
    assert folded.is_contiguous()
    assert folded.dtype == dtype
    error = (folded.double() - exact).abs() / exact.abs()
    assert error.max() <= torch.finfo(dtype).eps * (1 if dtype == torch.float32 else 0.51)


@pytest.mark.parametrize(
    ("quantisation", "precision"), [(None, "bfloat16"), ("int8", "bfloat16+int8")]
)
def test_the_layout_names_the_precision_of_the_base(
    quantisation: str | None, precision: str
) -> None:
    served = replace(facts("bfloat16"), quantisation=quantisation)
    assert served.precision == precision
    assert served.layout_id.startswith(f"weft-image/1:{precision}:1:")
    assert serving_dtype(served) == torch.bfloat16
