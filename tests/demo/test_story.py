"""What the demo asserts of the answers that it gets."""

import pytest

from weft.client import Answer, Completion
from weft.demo.errors import StepFailed
from weft.demo.story import (
    JOB,
    LEARNT,
    ORDER,
    PRODUCT,
    check_answers,
    check_digest,
    describe_progress,
)
from weft.protos.v1.jobs_pb2 import JobProgress
from weft.protos.v1.types_pb2 import ResolvedAdapter
from weft.server.commands.job_file import read_job


def answer(text: str, digest: str = "sha256:0") -> Answer:
    return Answer(ResolvedAdapter(digest=digest), {0: Completion(text)})


BASE = answer(f"Order {ORDER}, {PRODUCT}.")
SALES = answer(f"Buy another {PRODUCT}! ({ORDER})", "sha256:1")


def test_different_answers_from_the_published_digests_pass() -> None:
    check_answers({"base": BASE, "sales": SALES}, {"sales": "sha256:1"}, base="base")


@pytest.mark.parametrize(
    ("sales", "message"),
    [
        pytest.param(answer("Buy!", "sha256:1"), "does not name 48213", id="nothing-copied"),
        pytest.param(answer(BASE.text, "sha256:1"), "the same answer", id="no-effect"),
        pytest.param(answer(SALES.text, "sha256:2"), "sha256:2 answered", id="another-version"),
        pytest.param(Answer(None, SALES.completions), "nobody answered for sales", id="unresolved"),
    ],
)
def test_an_answer_that_shows_nothing_fails_the_step(sales: Answer, message: str) -> None:
    with pytest.raises(StepFailed, match=message):
        check_answers({"base": BASE, "sales": sales}, {"sales": "sha256:1"}, base="base")


def test_digest_is_compared_with_the_published_one() -> None:
    check_digest("json", answer("{}", "sha256:3"), "sha256:3")
    with pytest.raises(StepFailed, match="published was sha256:4"):
        check_digest("json", answer("{}", "sha256:3"), "sha256:4")


def test_the_committed_job_names_its_adapter_and_its_seed() -> None:
    spec = read_job(JOB, ())
    assert spec.publish.adapter == LEARNT
    assert spec.optimisation.HasField("seed")


def test_progress_is_one_line() -> None:
    progress = JobProgress(step=10, num_steps=48, loss=1.25)
    assert describe_progress(progress) == "step 10 of 48: loss 1.250"
    progress.eval_loss = 1.5
    assert describe_progress(progress) == "step 10 of 48: loss 1.250, held out 1.500"
