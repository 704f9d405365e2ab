"""`weft job`."""

from pathlib import Path

from tests.client.service import NO_MODEL, State
from weft.protos.v1 import jobs_pb2
from weft.server.commands.job import describe

from .conftest import Weft


def test_submit_uploads_its_files(weft: Weft, state: State, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "a"}\n')
    ended = weft(
        *("job", "submit", "--train", rows, "--eval", "datasets/d9"),
        *("--set", "publish.adapter=support"),
    )
    assert (ended.code, ended.out) == (0, "jobs/j1\n")
    request = state.requests[-1]
    assert isinstance(request, jobs_pb2.CreateJobRequest)
    assert list(request.spec.train) == ["datasets/d1"]
    assert list(request.spec.eval) == ["datasets/d9"]
    assert request.spec.publish.adapter == "support"


def test_submit_reads_a_file(weft: Weft, state: State, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("train: [datasets/d1]\npublish: {adapter: a}\n")
    assert weft("job", "submit", "-f", tmp_path / "job.yaml").code == 0


def test_submit_follows_to_the_end(weft: Weft) -> None:
    ended = weft("job", "submit", "--train", "datasets/d1", "--follow", "--output", "json")
    assert (ended.code, len(ended.documents), ended.err) == (0, 3, "jobs/j1\n")


def test_jobs_are_listed_by_state(weft: Weft, state: State) -> None:
    ended = weft("job", "list", "--state", "running")
    assert ended.out.splitlines()[1].split() == ["jobs/j1", "running"]
    assert "JOB_STATE_RUNNING" in str(state.requests[-1])
    assert weft("job", "list", "--state", "asleep").code == 2


def test_a_job_is_shown_and_cancelled(weft: Weft) -> None:
    assert "failed" in weft("job", "show", "bad").out
    assert weft("job", "cancel", "j1").out == "jobs/j1 cancelled\n"


def test_a_job_is_described_by_what_is_known_of_it() -> None:
    job = jobs_pb2.Job(name="jobs/j1", state=jobs_pb2.JOB_STATE_FAILED, reason="WORKER_LOST")
    job.error.CopyFrom(NO_MODEL)
    text = "\n".join(describe(job))
    assert "failed WORKER_LOST" in text
    assert "no model 'nobody'" in text
    assert "published" not in text
