"""The definition against a dense softmax of every row in float64."""

import pytest
import torch
from torch import Tensor

from .attention_cases import KINDS, Kind, Paged, Run, define, indptr
from .cases import DTYPES, TOLERANCE, assert_near

NEW, LENGTHS = [1, 6, 1, 9, 13], [1, 6, 31, 20, 170]


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_definition_equals_a_dense_softmax_in_float64(name: str, kind: Kind) -> None:
    run = Run("cpu", DTYPES[name])
    paged, q_THD = run.cache(kind, LENGTHS), run.queries(kind, sum(NEW))
    want = torch.cat(
        [
            dense(q_THD[start : start + new], paged, sequence, length)
            for sequence, (start, new, length) in enumerate(
                zip(indptr(NEW)[:-1], NEW, LENGTHS, strict=True)
            )
        ]
    )
    out_THD = define(q_THD, paged, NEW, LENGTHS)
    assert out_THD.dtype == run.dtype
    assert_near("out", out_THD, want, tolerance=TOLERANCE[run.dtype])


def dense(q_THD: Tensor, paged: Paged, sequence: int, length: int) -> Tensor:
    """One sequence, all heads at once."""
    kind = paged.kind
    k_NHD, v_NHD = (
        own.double().repeat_interleave(kind.group, 1) for own in paged.keys(sequence, length)
    )
    scores = torch.einsum("thd,nhd->htn", q_THD.double(), k_NHD) * kind.scaling
    if kind.softcap is not None:
        scores = (scores / kind.softcap).tanh() * kind.softcap
    key = torch.arange(length)
    behind = key[-len(q_THD) :, None] - key
    hidden = behind < 0 if kind.window is None else (behind < 0) | (behind >= kind.window)
    weights = scores.masked_fill(hidden, float("-inf")).exp()
    denominator = weights.sum(-1)
    if paged.sinks_H is not None:
        denominator = denominator + paged.sinks_H.double().exp()[:, None]
    return torch.einsum("htn,nhd->thd", weights / denominator[..., None], v_NHD)
