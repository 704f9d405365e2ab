"""Scores that overflow, caps that saturate and rows without keys, through both kernels."""

from dataclasses import replace

import pytest
import torch

from .attention_cases import KINDS, RUNS, Run, define
from .cases import assert_near

LENGTHS = [300, 17]


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("name", ["gqa", "softcap", "all"])
def test_scores_beyond_the_range_of_exp(run: Run, name: str) -> None:
    """Scores of a few thousand: neither the exponential nor the cap's tanh may overflow."""
    kind = KINDS[name]
    paged = run.cache(kind, LENGTHS)
    q_BHD = run.queries(kind, 2) * 1000
    want = define(q_BHD, paged, [1, 1], LENGTHS)
    for out in (run.decode(q_BHD, paged, LENGTHS), run.prefill(q_BHD, paged, [1, 1], LENGTHS)):
        assert_near("out", out, want, tolerance=20 * run.tolerance)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("logit", [-1000.0, 1000.0])
def test_sinks_that_take_nothing_or_all(run: Run, logit: float) -> None:
    kind = replace(KINDS["sinks"], head_dim=8)
    paged = run.cache(kind, LENGTHS)
    q_BHD = run.queries(kind, 2)
    extreme = paged._replace(sinks_H=q_BHD.new_full((kind.num_heads,), logit))
    plain = run.decode(q_BHD, paged._replace(sinks_H=None), LENGTHS)
    want = plain if logit < 0 else torch.zeros_like(plain)
    for out in (run.decode(q_BHD, extreme, LENGTHS), run.prefill(q_BHD, extreme, [1, 1], LENGTHS)):
        assert_near("out", out, want, tolerance=run.tolerance)


@pytest.mark.parametrize("run", RUNS)
def test_rows_whose_first_tile_is_hidden(run: Run) -> None:
    """Late rows of a chunk see nothing of the tile in which the window of its first row begins."""
    kind = KINDS["window"]
    paged, q_THD = run.cache(kind, [200]), run.queries(kind, 64)
    want = define(q_THD, paged, [64], [200])
    assert_near("out", run.prefill(q_THD, paged, [64], [200]), want, tolerance=run.tolerance)
