"""Segments are built on the host, and copied in one piece."""

import torch

from weft.bench.metadata_cases import make_metadata_case, metadata_batches
from weft.bench.trials import Case, run_case

from .stopwatches import FakeStopwatch
from .test_trials import CEILINGS

SMALL = next(metadata_batches(small=True))


def make() -> Case:
    return make_metadata_case(SMALL, seed=0, device=torch.device("cpu"), dtype=torch.float32)


def test_copy_and_build_are_timed_apart() -> None:
    case = make()
    outcome = run_case(case, FakeStopwatch(), CEILINGS)
    assert {cell.figure for cell in outcome.cells} == {"graph", "warm", "eager"}
    trial = case.makers["weft"]()
    assert trial.eager is not None
    assert trial.error_of(trial.eager) == 0


def test_segments_that_are_not_copied_are_wrong() -> None:
    assert make().makers["weft"]().error_of(lambda: None) > 0


def test_decode_and_prefill_steps_are_measured() -> None:
    assert [batch.num_rows for batch in metadata_batches(small=False)] == [1, 128, 8192]
