"""What happens to a job is said as it happens, in one line each."""

import pytest

from tests.client.service import NO_MODEL
from weft.protos.v1 import jobs_pb2
from weft.server.commands.job_events import describe_event

from .conftest import Weft


def test_watch_shows_the_loss_and_ends_with_the_job(weft: Weft) -> None:
    ended = weft("job", "watch", "j1")
    assert ended.code == 0
    lines = [line.split(maxsplit=1)[1] for line in ended.out.splitlines()]
    assert lines == [
        "step 1/2  loss 2.0000",
        "step 2/2  loss 1.0000",
        "succeeded",
    ]


def test_a_failed_job_has_an_exit_code_of_its_own(weft: Weft) -> None:
    assert weft("job", "watch", "bad").code == 9
    assert weft("job", "watch", "bad", "--output", "json").code == 9


def test_watch_goes_on_from_a_cursor(weft: Weft) -> None:
    ended = weft("job", "watch", "j1", "--since", "2", "--output", "json")
    assert len(ended.documents) == 1


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (
            jobs_pb2.JobEvent(
                state=jobs_pb2.JobStateChanged(to=jobs_pb2.JOB_STATE_FAILED, reason="WHY")
            ),
            "state      failed (WHY)",
        ),
        (jobs_pb2.JobEvent(phase=jobs_pb2.JOB_PHASE_TRAIN), "phase      train"),
        (jobs_pb2.JobEvent(sample=jobs_pb2.JobSample(text="hi")), "sample     hi"),
        (jobs_pb2.JobEvent(checkpoint=jobs_pb2.Checkpoint(step=4)), "checkpoint step 4"),
        (jobs_pb2.JobEvent(warning=jobs_pb2.JobWarning(message="odd")), "warning    odd"),
        (
            jobs_pb2.JobEvent(
                published=jobs_pb2.JobResult(
                    publication=jobs_pb2.PUBLICATION_PUBLISHED, version="adapters/a/versions/1"
                )
            ),
            "published  adapters/a/versions/1",
        ),
        (jobs_pb2.JobEvent(error=NO_MODEL), "error      no model 'nobody'"),
        (jobs_pb2.JobEvent(), "event      of a kind that this client does not know"),
    ],
)
def test_every_event_is_said_in_one_line(event: jobs_pb2.JobEvent, said: str) -> None:
    assert describe_event(event) == said
