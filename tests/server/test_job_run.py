"""One claimed job; what it does from claim to end is shown in `test_worker`."""

from pathlib import Path

from weft.adapters.checkpoint import Checkpoint
from weft.adapters.job_records import JobCheckpoint
from weft.server.job_run import find_recorded


def test_recorded_checkpoint_is_looked_for_in_the_jobs_own_folder(tmp_path: Path) -> None:
    recorded = JobCheckpoint(12, "sha256:12", "elsewhere")

    assert find_recorded(recorded, tmp_path) == Checkpoint(
        tmp_path / "step-00000012", 12, "sha256:12"
    )
    assert find_recorded(None, tmp_path) is None
