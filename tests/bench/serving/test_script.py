"""What is sent is drawn from the seed before anything is sent."""

import pytest

from weft.bench.serving.script import draw_script
from weft.bench.serving.workloads import make_runs

NAMES = ("W1", "W2", "W3", "W4", "W5", "W6")


@pytest.mark.parametrize("name", NAMES)
def test_equal_seeds_give_equal_scripts_in_order(name: str) -> None:
    run = make_runs(name, small="82m", seconds=60, trace=None)[-1]
    first, again, other = (
        draw_script(run, knee=20, vocab_size=320, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    times = [arrival.at_s for arrival in first]
    assert times == sorted(times)
    assert 0 <= times[0] <= times[-1] < run.seconds


def test_no_two_runs_share_a_prompt() -> None:
    runs = make_runs("W1", small="82m", seconds=60, trace=None)
    prompts = [
        tuple(arrival.call.tokens)
        for run in runs
        for arrival in draw_script(run, knee=20, vocab_size=320, seed=1)
    ]
    assert len(set(prompts)) == len(prompts) > 100


def test_churn_publishes_in_every_second_phase_and_asks_once() -> None:
    [run] = make_runs("W4", small="82m", seconds=8, trace=None)
    published = [a for a in draw_script(run, knee=20, vocab_size=320, seed=0) if a.publishes]
    assert [a.publishes for a in published] == [f"cold{i}" for i in range(8)]
    assert {a.call.model for a in published} == {a.publishes for a in published}
    assert {int(a.at_s / 2) for a in published} == {1, 3}


def test_adapters_go_on_from_the_answer_of_the_base() -> None:
    run = make_runs("W5", small="82m", seconds=60, trace=None)[0]
    chain = draw_script(run, knee=20, vocab_size=320, seed=0)[0].call
    assert (chain.model, len(chain.tokens), chain.new_tokens) == (None, 128, 16)
    assert [len(call.tokens) for call in chain.then] == [16] * 3
    assert all(call.model for call in chain.then)


def test_everybody_asks_for_their_own_adapters() -> None:
    run = make_runs("W6", small="82m", seconds=60, trace=None)[1]
    owners = {spec.name: spec.tenant for spec in run.setting.adapters}
    calls = [arrival.call for arrival in draw_script(run, knee=20, vocab_size=320, seed=0)]
    assert all(call.model and owners[call.model] == call.tenant for call in calls)
    assert {call.tenant for call in calls if call.group == "abuser"} == {3}
    assert {call.tenant for call in calls if call.group == "polite"} == {0, 1, 2}
