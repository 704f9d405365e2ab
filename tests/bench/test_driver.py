"""Driving an engine without a front."""

import pytest

from weft.bench.bed import Bed
from weft.bench.driver import Request
from weft.bench.errors import RunFailed
from weft.server.channel import Sampling


def test_run_answers_every_request_in_order_and_loads_what_it_needs(bed: Bed) -> None:
    digests = [None, *(lora.digest for lora in bed.loras)]
    requests = [Request([1, 2, 3 + i], digest, 4 + i) for i, digest in enumerate(digests)]
    run = bed.driver.run(requests, logprobs=2)
    assert [len(answer.tokens) for answer in run.answers] == [4, 5, 6, 7]
    assert [len(answer.logprobs) for answer in run.answers] == [4, 5, 6, 7]
    assert run.seconds >= sum(step.seconds for step in run.steps) > 0
    assert set(bed.driver.engine.residency.resident) == set(digests[1:])
    assert not bed.driver.run(requests).loads


def test_no_run_reuses_the_prefix_of_another(bed: Bed) -> None:
    request = Request(bed.prompts(1, 64)[0], None, 2)
    for _ in range(2):
        (answer,) = bed.driver.run([request]).answers
        assert answer.finished is not None
        assert answer.finished.cached_tokens == 0


def test_steps_account_for_every_token(bed: Bed) -> None:
    run = bed.driver.run([Request([1, 2, 3], None, 5), Request([4, 5], None, 5)])
    assert sum(step.tokens for step in run.steps) == 5 + 2 * 4
    assert {step.kind for step in run.steps} == {"prefill", "decode"}


def test_request_says_how_it_is_drawn(bed: Bed) -> None:
    samplings = [Sampling(), *(Sampling(temperature=2.0, seed=seed) for seed in (1, 2, 2))]
    run = bed.driver.run([Request([1, 2, 3], None, 6, sampling) for sampling in samplings])
    greedy, one, other, same = (answer.tokens for answer in run.answers)
    assert greedy != one != other == same
    assert [answer.num_draws for answer in run.answers] == [6] * 4


def test_request_that_can_never_run_ends_the_run(bed: Bed) -> None:
    with pytest.raises(RunFailed, match="REQUEST_INVALID"):
        bed.driver.run([Request([bed.facts.vocab_size], None, 1)])


def test_steps_of_a_steady_batch_are_timed_and_then_given_up(bed: Bed) -> None:
    requests = [Request(prompt, None, 40) for prompt in bed.prompts(2, 5)]
    with bed.driver.decoding(requests):
        steps = bed.driver.time_steps(3, batch=2)
        with pytest.raises(RunFailed, match=r"\('decode', 2\)} in place of decodes of 1"):
            bed.driver.time_steps(1, batch=1)
    assert len(steps.ms) == 3
    assert min(steps.ms) > 0
    assert not bed.driver.engine.scheduler.running


def test_an_adapter_is_brought_without_a_request(bed: Bed) -> None:
    digest = bed.loras[0].digest
    assert bed.driver.bring(digest) > 0
    assert digest in bed.driver.engine.residency.resident
