"""Paged attention as cases: ours and SDPA agree with float64, and floors are the known ones."""

from dataclasses import replace

import pytest
import torch

from weft.bench.attention_cases import (
    DECODE,
    PREFILL,
    AttentionCell,
    attention_cells,
    make_attention_case,
)
from weft.bench.floors import H200, Ceilings
from weft.bench.kernel_goals import DECODE_CASE, PREFILL_CASE
from weft.bench.trials import Case, run_case

SMALL = list(attention_cells(small=True))


def make(cell: AttentionCell) -> Case:
    return make_attention_case(cell, seed=0, device=torch.device("cpu"), dtype=torch.float32)


@pytest.mark.parametrize("cell", [*SMALL, replace(SMALL[1], num_new=21)], ids=str)
def test_ours_and_sdpa_are_right(cell: AttentionCell) -> None:
    outcome = run_case(make(cell), None, Ceilings(1, 1))
    assert not outcome.gaps
    assert {name for name, _ in outcome.errors} == {"weft", "sdpa"}


@pytest.mark.parametrize("cell", SMALL, ids=str)
def test_attention_that_does_nothing_is_wrong(cell: AttentionCell) -> None:
    trial = make(cell).makers["weft"]()
    assert trial.error_of(trial.run) <= 1e-5
    assert trial.error_of(lambda: None) > 0.1


def test_goals_name_their_cells() -> None:
    assert {DECODE_CASE, PREFILL_CASE} <= {str(cell) for cell in attention_cells(small=False)}
    assert str(AttentionCell(PREFILL, 1, 8192, 512)) == "attention_prefill 1 x 512 behind 7680"


def test_decode_reads_keys_and_values_once() -> None:
    """134 MB a layer at batch 32 and context 1,024, 31 µs at 4.3 TB/s."""
    work = AttentionCell(DECODE, 32, 1024, 1).work(element_bytes=2)
    assert work.num_bytes == pytest.approx(134e6, rel=6e-3)
    assert 1e6 * work.floor_s(H200) == pytest.approx(31, abs=0.5)


def test_prefill_multiplies_half_the_pairs() -> None:
    """22.6 ms for 32 layers at 8,192 tokens and 780 TFLOP/s; the prefix is seen by every row."""
    whole = AttentionCell(PREFILL, 1, 8192, 8192).work(element_bytes=2)
    assert 32e3 * whole.floor_s(H200) == pytest.approx(22.6, abs=0.05)
    behind = AttentionCell(PREFILL, 1, 8192, 512).work(element_bytes=2)
    assert behind.flops == 4 * 32 * 128 * (512 * 7680 + 512 * 513 / 2)
