"""The whole engine in this process, on tiny real models with real adapters."""

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from weft.server.channel import BUILD, Beams, EarlyStopping, Hello, Sampling
from weft.server.config import EngineConfig, SchedulingConfig
from weft.server.engine.places import Place
from weft.server.engine.sequence import State

from .worlds import FRONT, LORAS, Answer, Front, Reference, World

KV_BYTES = 1_000_000  # 122 blocks of 16 tokens
CONFIG = EngineConfig(kv_bytes=KV_BYTES, arena_bytes=4_000_000, max_sequences=32)
BLOCK_BYTES = 8_192  # 2 layers, keys and values of 2 heads of 16, 16 tokens, 4 bytes
MODELS = [None, *LORAS, None]
REQUESTS = [(random.Random(i).choices(range(4, 300), k=3 + 5 * i), m) for i, m in enumerate(MODELS)]


@pytest.fixture
def front(world: World) -> Iterator[Front]:
    with closing(Front(world, CONFIG)) as front:
        yield front


def prompt(length: int, *, seed: int = 0) -> list[int]:
    return random.Random(1000 * length + seed).choices(range(4, 300), k=length)


def largest_image(world: World) -> int:
    """Bytes on disk: a little more than in the arena, and less than two of them."""
    return max(path.stat().st_size for path in world.images.values())


def run_all(
    front: Front,
    requests: Sequence[tuple[list[int], str | None]],
    *,
    max_tokens: int = 6,
    steps_between: int = 0,
) -> list[Answer]:
    """Submit requests, greedy and with logprobs, and answer what came of each."""
    streams = []
    for tokens, model in requests:
        streams.append(front.submit(tokens, model=model, max_tokens=max_tokens, logprobs=0))
        for _ in range(steps_between):
            front.step()
    front.finish()
    return [front.answers[stream] for stream in streams]


def logprobs_of(answer: Answer) -> list[float]:
    return [entry.logprob for entry in answer.logprobs if entry is not None]


def test_mixed_batch_gives_each_request_what_hf_and_peft_give_it_alone(family: World) -> None:
    requests = [(prompt(5 + 3 * i), model) for i, model in enumerate(MODELS)]
    with closing(Front(family, CONFIG)) as front:
        answers = run_all(front, requests, max_tokens=10)
        assert max(step.distinct_adapters for step in front.engine.stats().steps) == len(LORAS)
    for answer, (tokens, model) in zip(answers, requests, strict=True):
        expected, logprobs = Reference(family, model).answer(tokens, 10)
        assert answer.tokens == expected, model
        assert logprobs_of(answer) == pytest.approx(logprobs, abs=1e-4), model


def test_every_adapter_changes_the_answer(world: World, front: Front) -> None:
    streams = [front.submit(prompt(12), model=model, logprobs=0) for model in (None, *LORAS)]
    front.finish()
    first = [front.answers[stream].logprobs[0] for stream in streams]
    assert len({entry.logprob for entry in first if entry is not None}) == len(streams)


@pytest.fixture(scope="module")
def answers_alone(world: World) -> list[Answer]:
    """The answer to every request of REQUESTS from an engine that it has for itself."""
    answers = []
    for request in REQUESTS:
        with closing(Front(world, CONFIG)) as front:
            answers += run_all(front, [request])
    return answers


@pytest.mark.parametrize("budget", [1, 7, 33, 512])
def test_answers_do_not_depend_on_chunks_order_or_company(
    world: World, answers_alone: list[Answer], budget: int
) -> None:
    order = random.Random(budget).sample(range(len(REQUESTS)), len(REQUESTS))
    config = EngineConfig(kv_bytes=KV_BYTES, arena_bytes=4_000_000, max_batch_tokens=budget)
    with closing(Front(world, config)) as front:
        answers = run_all(front, [REQUESTS[i] for i in order], steps_between=1)
    for i, answer in zip(order, answers, strict=True):
        assert answer.tokens == answers_alone[i].tokens
        assert logprobs_of(answer) == pytest.approx(logprobs_of(answers_alone[i]), abs=1e-5)


def test_target_of_a_step_cuts_prompts_and_steps_teach_its_time(world: World) -> None:
    config = replace(CONFIG, scheduling=SchedulingConfig(target_step_ms=1e-6))
    with closing(Front(world, config)) as front:
        before_s = front.engine._step_time.predict_s(32, 32)
        front.submit(prompt(100), max_tokens=1)
        front.finish()
        assert [step.tokens for step in front.engine.stats().steps] == [32, 32, 32, 4]
        assert front.engine._step_time.predict_s(32, 32) != before_s


def test_engine_that_gathers_sleeps_until_the_window_opens(world: World) -> None:
    config = replace(CONFIG, scheduling=SchedulingConfig(window_ms=30.0))
    with closing(Front(world, config)) as front:
        assert front.engine.idle_s(5.0) == 5.0
        stream = front.submit(prompt(5), max_tokens=1)
        began = time.monotonic()
        assert not front.step()
        assert 0 < front.engine.idle_s(5.0) <= 0.03
        while not front.answers[stream].is_over:
            front.step()
        assert time.monotonic() - began > 0.025
        assert front.engine.idle_s(5.0) == 5.0


def test_seeded_draws_do_not_depend_on_the_batch(world: World, front: Front) -> None:
    sampling = Sampling(temperature=1.0, top_k=50, top_p=0.95, seed=11)
    alone = front.submit(prompt(9), model="r8 on all", sampling=sampling, max_tokens=12)
    front.finish()
    streams = [
        front.submit(prompt(9 + i), model=model, sampling=Sampling(temperature=1.5, seed=i))
        for i, model in enumerate(MODELS)
    ]
    again = front.submit(prompt(9), model="r8 on all", sampling=sampling, max_tokens=12)
    other = Sampling(temperature=1.0, top_k=50, top_p=0.95, seed=12)
    differs = front.submit(prompt(9), model="r8 on all", sampling=other, max_tokens=12)
    front.finish()
    assert front.answers[again].tokens == front.answers[alone].tokens
    assert front.answers[differs].tokens != front.answers[alone].tokens
    assert len({tuple(front.answers[stream].tokens) for stream in streams}) == len(streams)


def test_penalties_biases_and_min_tokens_equal_those_of_transformers_and_peft(
    world: World, front: Front
) -> None:
    tokens, end = prompt(9), 0
    asked = Sampling(repetition_penalty=1.7, logit_bias={11: 4.0, end: 6.0})
    streams = {
        model: front.submit(
            tokens,
            model=model,
            sampling=asked,
            max_tokens=12,
            min_tokens=5,
            stop_tokens=frozenset([end]),
        )
        for model in (None, "r8 on all", "r64 on o")
    }
    front.submit(tokens, model="r8 on all", max_tokens=12)
    front.finish()
    ended = []
    for model, stream in streams.items():
        expected = Reference(world, model).generate(
            tokens,
            max_new_tokens=12,
            min_new_tokens=5,
            repetition_penalty=1.7,
            sequence_bias={(11,): 4.0, (end,): 6.0},
            eos_token_id=end,
        )
        assert front.answers[stream].tokens == expected, model
        ended.append(end in expected)
    assert any(ended), "no answer met the end that was barred at first"


SEARCHES = {
    None: Beams(4, 4),
    "r8 on all": Beams(3, 2, 0.3, EarlyStopping.NEVER),
    "r64 on o": Beams(5, 5, -0.5, EarlyStopping.FIRST),
    "r4 on q v": Beams(8, 1, 2.0),
}


@pytest.mark.parametrize("asks", [False, True], ids=["plain", "with penalty, bias and min_tokens"])
def test_beams_are_those_of_transformers_and_peft_beside_other_rows(
    world: World, front: Front, asks: bool
) -> None:
    tokens, end, pad = prompt(21), 0, 1
    bias = {11: 1.0, end: 2.0} if asks else {end: 2.0}
    asked = Sampling(repetition_penalty=1.3 if asks else 1.0, logit_bias=bias)
    others = [
        front.submit(tokens, model="r8 on all", max_tokens=12),
        front.submit(tokens, model="r64 on o", sampling=Sampling(temperature=1.0, seed=3)),
    ]
    front.finish()
    alone = [front.answers[stream].tokens for stream in others]
    again = [
        front.submit(tokens, model="r8 on all", max_tokens=12),
        front.submit(tokens, model="r64 on o", sampling=Sampling(temperature=1.0, seed=3)),
    ]
    streams = {
        model: front.submit(
            tokens,
            model=model,
            sampling=asked,
            max_tokens=12,
            min_tokens=4 if asks else 0,
            stop_tokens=frozenset([end]),
            beams=beams,
        )
        for model, beams in SEARCHES.items()
    }
    front.finish()
    assert [front.answers[stream].tokens for stream in again] == alone
    reasons = set()
    for model, stream in streams.items():
        expected = Reference(world, model).search(
            tokens,
            SEARCHES[model],
            max_new_tokens=12,
            min_new_tokens=4 if asks else None,
            repetition_penalty=1.3 if asks else None,
            sequence_bias={(token,): value for token, value in bias.items()},
            eos_token_id=end,
            pad_token_id=pad,
        )
        answer = front.answers[stream]
        for found, (row, score) in zip(answer.hypotheses, expected, strict=True):
            padding = [pad] * (len(row) - len(found.tokens))
            assert [*found.tokens, *padding] == row, model
            assert found.score == pytest.approx(score, abs=1e-4), model
            reasons.add(found.reason)
        assert answer.finished is not None
        num_told = sum(len(found.tokens) for found in answer.hypotheses)
        assert answer.finished.generated_tokens == num_told
        assert answer.finished.prompt_tokens == 21
        assert not answer.tokens
    assert reasons == {"stop", "length"}
    assert front.engine.blocks.num_available == front.engine.blocks.num_blocks


def test_beams_find_the_same_when_they_are_preempted_or_parked(world: World, front: Front) -> None:
    def submit_all(target: Front) -> list[int]:
        return [
            target.submit(prompt(20, seed=i), model=model, max_tokens=24, beams=Beams(3, 3))
            for i, model in enumerate([None, "r8 on all", "r64 on o"])
        ]

    roomy = submit_all(front)
    front.finish()
    config = EngineConfig(
        kv_bytes=12 * BLOCK_BYTES, arena_bytes=largest_image(world), max_context=64
    )
    with closing(Front(world, config)) as tight:
        tight.engine.residency.turn_s = 0.0
        streams = submit_all(tight)
        preempted = 0
        while not all(answer.is_over for answer in tight.answers.values()):
            tight.advance()
            waiting = tight.engine.scheduler.waiting
            preempted += sum(s.state is State.PREEMPTED and s.num_generated > 1 for s in waiting)
        assert preempted
        assert tight.engine.stats().parks
        tight.engine.check_integrity()
    for a, b in zip(roomy, streams, strict=True):
        expected, found = front.answers[a].hypotheses, tight.answers[b].hypotheses
        assert [h.tokens for h in found] == [h.tokens for h in expected]
        assert [h.score for h in found] == pytest.approx([h.score for h in expected], abs=1e-4)


def test_beams_that_are_given_up_or_fail_do_so_as_one(front: Front) -> None:
    aborted = front.submit(prompt(20), max_tokens=100, beams=Beams(4))
    late = front.submit(prompt(21), max_tokens=400, beams=Beams(2), deadline=time.monotonic() + 0.2)
    for _ in range(5):
        front.step()
    front.engine.abort(FRONT, aborted)
    front.engine.check_integrity()
    assert front.answers[aborted].finished is not None
    doomed = front.submit(prompt(20), model="r8 on all", beams=Beams(4))
    while not any(s.digest for s in front.engine.scheduler.running):
        front.advance()
    front.step()
    front.engine.arena.data.fill_(torch.nan)
    front.finish()
    reasons = []
    for stream in (late, doomed):
        answer = front.answers[stream]
        assert not answer.hypotheses
        assert answer.failed is not None
        reasons.append(answer.failed.reason)
    assert reasons == ["DEADLINE_EXCEEDED", "STEP_FAILED"]
    assert front.engine.blocks.num_available == front.engine.blocks.num_blocks


def test_preempted_sequences_go_on_where_they_were(world: World, front: Front) -> None:
    def submit_all(target: Front) -> list[int]:
        return [
            target.submit(
                prompt(20, seed=i),
                model=model,
                max_tokens=40,
                sampling=Sampling(temperature=0.8, seed=i),
            )
            for i, model in enumerate([None, "r8 on all", "r64 on o", None])
        ]

    roomy = submit_all(front)
    front.finish()
    config = EngineConfig(kv_bytes=8 * BLOCK_BYTES, arena_bytes=4_000_000, max_context=64)
    with closing(Front(world, config)) as tight:
        assert tight.engine.budgets.num_blocks == 8
        streams = submit_all(tight)
        preempted = set()
        while not all(answer.is_over for answer in tight.answers.values()):
            tight.advance()
            preempted |= {s.num_generated for s in tight.engine.scheduler.waiting if s.admitted_at}
    assert any(preempted)
    for a, b in zip(roomy, streams, strict=True):
        assert tight.answers[b].tokens == front.answers[a].tokens


def test_those_who_follow_find_the_prompt_computed(front: Front) -> None:
    tokens = prompt(70)

    def ask(seed: int, after: int | None) -> int:
        sampling = Sampling(temperature=1.5, seed=seed)
        return front.submit(tokens, model="r8 on all", sampling=sampling, after=after)

    first = ask(1, None)
    others = [ask(seed, first) for seed in (2, 3)]
    front.finish()
    alone = ask(3, None)
    front.finish()
    cached = []
    for stream in (first, *others):
        finished = front.answers[stream].finished
        assert finished is not None
        cached.append(finished.cached_tokens)
    assert cached == [0, 64, 64]
    assert front.answers[others[1]].tokens == front.answers[alone].tokens
    assert len({tuple(front.answers[stream].tokens) for stream in (first, *others)}) == 3


def test_those_who_follow_one_that_is_given_up_run_all_the_same(front: Front) -> None:
    tokens = prompt(70)
    first = front.submit(tokens)
    second = front.submit(tokens, after=first)
    dropped = front.submit(tokens, after=first)
    front.engine.abort(FRONT, dropped)
    front.engine.abort(FRONT, first)
    while not front.answers[second].is_over:
        front.advance()
    front.engine.check_integrity()
    assert front.answers[second].finished is not None
    assert not front.answers[dropped].is_over


def test_those_who_follow_keep_their_place_when_the_queue_fills(world: World) -> None:
    scheduling = SchedulingConfig(max_waiting=4)
    config = replace(CONFIG, max_sequences=1, max_batch_tokens=16, scheduling=scheduling)
    with closing(Front(world, config)) as narrow:
        tokens = prompt(70)
        first = narrow.submit(tokens)
        others = [narrow.submit(tokens, after=first) for _ in range(2)]
        narrow.step()
        queued = [narrow.submit(prompt(5)) for _ in range(2)]
        late = narrow.submit(tokens, after=first)
        assert not narrow.answers[first].tokens
        refused = narrow.answers[late].failed
        assert refused is not None
        assert refused.reason == "QUEUE_FULL"
        narrow.finish()
        for stream in (first, *others, *queued):
            assert narrow.answers[stream].finished is not None


@pytest.mark.parametrize("budget", [5, 512])
def test_prompt_logprobs_equal_those_of_hf_and_peft(world: World, budget: int) -> None:
    config = EngineConfig(kv_bytes=KV_BYTES, arena_bytes=4_000_000, max_batch_tokens=budget)
    tokens = prompt(40)
    with closing(Front(world, config)) as front:
        front.submit(tokens, model="r8 on all")
        front.finish()  # the prefix cache has it, which must not matter
        asked = {
            model: front.submit(tokens, model=model, prompt_logprobs=1, logprobs=0)
            for model in (None, "r8 on all")
        }
        plain = front.submit(tokens, model="r8 on all", logprobs=0)
        front.finish()
        for model, stream in asked.items():
            answer = front.answers[stream]
            expected = Reference(world, model).prompt(tokens)
            found = [entry.logprob for entry in answer.prompt_logprobs]
            assert found == pytest.approx(expected, abs=1e-4), model
            assert all(len(entry.tokens) == 1 for entry in answer.prompt_logprobs)
        assert front.answers[asked["r8 on all"]].tokens == front.answers[plain].tokens


def test_prompt_logprobs_are_told_once_whatever_is_preempted(world: World) -> None:
    config = EngineConfig(
        kv_bytes=8 * BLOCK_BYTES, arena_bytes=4_000_000, max_context=64, max_batch_tokens=7
    )
    with closing(Front(world, config)) as front:
        streams = [
            front.submit(prompt(40, seed=i), max_tokens=20, prompt_logprobs=0) for i in range(4)
        ]
        front.finish()
        for i, stream in enumerate(streams):
            found = [entry.logprob for entry in front.answers[stream].prompt_logprobs]
            expected = Reference(world, None).prompt(prompt(40, seed=i))
            assert found == pytest.approx(expected, abs=1e-4)


def test_prefix_is_reused_under_its_own_digest_only(world: World, front: Front) -> None:
    tokens = prompt(40)
    expected = {}
    for model in (None, "r4 on q v", "r8 on all"):
        stream = front.submit(tokens, model=model)
        front.finish()
        finished = front.answers[stream].finished
        assert finished is not None
        assert finished.cached_tokens == 0
        expected[model] = front.answers[stream].tokens
    for model, wanted in expected.items():
        stream = front.submit(tokens, model=model)
        front.finish()
        finished = front.answers[stream].finished
        assert finished is not None
        assert finished.cached_tokens == 32
        assert front.answers[stream].tokens == wanted


def test_more_adapters_than_fit_take_turns_and_answer_as_alone(world: World) -> None:
    config = EngineConfig(kv_bytes=KV_BYTES, arena_bytes=largest_image(world))
    requests = [(prompt(4 + i), model) for i, model in enumerate(list(LORAS) * 2)]
    with closing(Front(world, config)) as front:
        front.engine.residency.turn_s = 0.0
        answers = run_all(front, requests, max_tokens=5)
        stats = front.engine.stats()
        assert stats.evictions > len(LORAS)
        assert stats.parks > len(LORAS)
    for answer, (tokens, model) in zip(answers, requests, strict=True):
        assert answer.tokens == Reference(world, model).answer(tokens, 5)[0]


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
def test_abort_frees_blocks_and_slot_by_the_next_step(front: Front, steps: int) -> None:
    stream = front.submit(prompt(30), model="r8 on all", max_tokens=100)
    while steps and not front.engine.scheduler.running:
        front.advance()
    for _ in range(steps):
        front.step()
    front.engine.abort(FRONT, stream)
    front.step()
    front.engine.check_integrity()
    assert front.engine.blocks.num_available == front.engine.blocks.num_blocks
    assert not front.engine.scheduler.running
    told = list(front.answers[stream].tokens)
    finished = front.answers[stream].finished
    assert (finished is not None) == bool(told)
    if finished is not None:
        assert (finished.reason, finished.prompt_tokens, finished.generated_tokens) == (
            "abort",
            30,
            len(told),
        )
    front.step()
    assert front.answers[stream].tokens == told


def test_deadline_ends_a_waiting_and_a_running_stream(front: Front) -> None:
    late = front.submit(prompt(5), deadline=time.monotonic() - 1)
    soon = front.submit(prompt(5), max_tokens=400, deadline=time.monotonic() + 0.1)
    front.finish()
    for stream, where in ((late, "queue"), (soon, "decode")):
        failed = front.answers[stream].failed
        assert failed is not None
        assert failed.reason == "DEADLINE_EXCEEDED"
        assert failed.metadata == {"during": where}
    assert front.answers[late].tokens == []
    assert front.engine.blocks.num_available == front.engine.blocks.num_blocks


def test_failed_step_fails_its_own_sequences_only(
    front: Front, caplog: pytest.LogCaptureFixture
) -> None:
    doomed = [front.submit(prompt(5)), front.submit(prompt(6))]
    keys = front.engine.cache.k
    front.engine.cache.k = []
    front.step()
    assert front.engine._step_time.num_observed == 0, "it teaches nothing of a step's time"
    front.engine.cache.k = keys
    fine = front.submit(prompt(5))
    front.finish()
    for stream in doomed:
        failed = front.answers[stream].failed
        assert failed is not None
        assert failed.reason == "STEP_FAILED"
    assert front.answers[fine].finished is not None
    assert "a step of 2 sequences failed" in caplog.text


def test_adapter_that_overflows_fails_alone(front: Front) -> None:
    base = front.submit(prompt(5), max_tokens=6)
    stream = front.submit(prompt(5), model="r8 on all", max_tokens=6)
    while not front.answers[stream].tokens:
        front.advance()
    front.engine.arena.data.fill_(torch.nan)
    front.finish()
    failed = front.answers[stream].failed
    assert failed is not None
    assert failed.reason == "STEP_FAILED"
    assert front.answers[base].finished is not None


def test_adapter_that_cannot_be_brought_fails_its_sequences(world: World, front: Front) -> None:
    digest = world.digests["r8 on all"]
    image = front.images.pop(digest)
    streams = [front.submit(prompt(5), model="r8 on all") for _ in range(2)]
    base = front.submit(prompt(5))
    front.finish()
    for stream in streams:
        failed = front.answers[stream].failed
        assert failed is not None
        assert failed.reason == "STORE_UNAVAILABLE"
    assert front.answers[base].finished is not None
    front.images[digest] = image
    again = front.submit(prompt(5), model="r8 on all")
    front.finish()
    assert front.answers[again].finished is not None


def test_broken_image_fails_its_sequences(world: World, front: Front, tmp_path: Path) -> None:
    broken = tmp_path / "broken.image"
    broken.write_bytes(b"\0" * 1000)
    front.images[world.digests["r8 on all"]] = broken
    stream = front.submit(prompt(5), model="r8 on all")
    front.finish()
    failed = front.answers[stream].failed
    assert failed is not None
    assert failed.reason in ("CONTENT_CORRUPT", "ADAPTER_LOAD_FAILED")


def test_image_that_has_left_the_disk_is_asked_for_again(world: World, front: Front) -> None:
    digest = world.digests["r8 on all"]
    front.images[digest] = Path("/nowhere/gone.image")
    stream = front.submit(prompt(5), model="r8 on all")
    front.step()
    front.step()
    front.images[digest] = world.images[digest]
    front.finish()
    assert front.answers[stream].finished is not None


def test_image_larger_than_the_arena_is_refused(world: World) -> None:
    with closing(Front(world, EngineConfig(kv_bytes=KV_BYTES, arena_bytes=1024))) as front:
        stream = front.submit(prompt(5), model="r8 on all")
        front.finish()
        failed = front.answers[stream].failed
    assert failed is not None
    assert "exceeds the arena's 256" in failed.message


def test_adapter_above_this_servers_rank_is_refused(world: World) -> None:
    config = EngineConfig(kv_bytes=KV_BYTES, arena_bytes=4_000_000, max_rank=32)
    with closing(Front(world, config)) as front:
        stream = front.submit(prompt(5), model="r64 on o")
        fine = front.submit(prompt(5), model="r8 on all")
        front.finish()
        assert front.engine.residency.resident == [world.digests["r8 on all"]]
    failed = front.answers[stream].failed
    assert failed is not None
    assert "exceed max_rank 32" in failed.message
    assert front.answers[fine].finished is not None


def test_evicted_adapter_comes_back_from_the_disk(world: World) -> None:
    config = EngineConfig(kv_bytes=KV_BYTES, arena_bytes=largest_image(world), host_bytes=1)
    tiers = []
    with closing(Front(world, config)) as front:
        for model in ("r8 on all", "r8 on all", "r64 on o", "r8 on all"):
            stream = front.submit(prompt(6), model=model)
            front.finish()
            finished = front.answers[stream].finished
            assert finished is not None
            tiers.append(finished.tier)
    assert tiers == ["store", "arena", "store", "disk"]


def test_front_that_is_gone_leaves_nothing_behind(front: Front) -> None:
    for model in (None, "r8 on all", "r64 on o"):
        front.submit(prompt(30), model=model, max_tokens=200)
    while len(front.engine.scheduler.running) < 3:
        front.advance()
    front.is_gone = True
    front.step()
    front.step()
    assert not front.engine.scheduler.running
    assert front.engine.blocks.num_available == front.engine.blocks.num_blocks
    front.engine.check_integrity()


def test_nobody_follows_for_a_front_that_is_gone(front: Front) -> None:
    first = front.submit(prompt(30), max_tokens=200)
    front.is_gone = True
    front.engine.receive(FRONT, Hello(BUILD))
    follower = front.submit(prompt(30), after=first)
    assert not front.step()
    assert not front.engine.scheduler.waiting
    assert not front.answers[follower].tokens
    front.engine.check_integrity()


def test_refusals_name_their_reason(front: Front) -> None:
    streams = [front.submit([]), front.submit(prompt(500), max_tokens=100)]
    reasons = [front.answers[stream].failed for stream in streams]
    assert [failed.reason for failed in reasons if failed] == ["REQUEST_INVALID", "PROMPT_TOO_LONG"]


def test_usage_and_stop_reason_come_last(front: Front) -> None:
    probe = front.submit(prompt(7), max_tokens=5)
    front.finish()
    third = front.answers[probe].tokens[2]
    first = front.answers[probe].tokens.index(third)
    stream = front.submit(prompt(7), max_tokens=5, stop_tokens=frozenset([third]))
    front.finish()
    finished = front.answers[stream].finished
    assert finished is not None
    assert (finished.reason, finished.prompt_tokens) == ("stop", 7)
    assert finished.generated_tokens == len(front.answers[stream].tokens) == first + 1
    assert min(finished.queue_s, finished.load_s, finished.prefill_s, finished.decode_s) >= 0
    ended = front.answers[probe].finished
    assert ended is not None
    assert ended.reason == "length"


def test_stats_add_up(world: World, front: Front) -> None:
    for _ in range(2):
        front.submit(prompt(20), model="r8 on all", max_tokens=3)
        front.finish()
    stats = front.engine.stats()
    assert (
        stats.free_blocks + stats.cached_blocks + stats.used_blocks
        == front.engine.blocks.num_blocks
    )
    assert (stats.running, stats.used_blocks) == (0, 0)
    assert stats.cached_blocks == 1
    assert stats.resident == [world.digests["r8 on all"]]
    assert (stats.lookups, len(stats.loads)) == ({"store": 1, "arena": 1}, 1)
    assert [step.kind for step in stats.steps] == ["prefill", "decode", "decode"] * 2
    assert [step.tokens for step in stats.steps] == [20, 1, 1, 4, 1, 1]
    assert front.engine.stats().steps == []


def test_reload_from_the_host_is_told_apart(world: World) -> None:
    config = EngineConfig(kv_bytes=KV_BYTES, arena_bytes=largest_image(world))
    tiers = []
    with closing(Front(world, config)) as front:
        for model in ("r8 on all", "r64 on o", "r8 on all"):
            stream = front.submit(prompt(5), model=model, max_tokens=1)
            front.finish()
            finished = front.answers[stream].finished
            assert finished is not None
            tiers.append(finished.tier)
        stats = front.engine.stats()
    assert tiers == ["store", "store", "host"]
    assert [load.origin for load in stats.loads] == ["disk", "disk", "host"]
    assert (stats.host_adapters, stats.host_total_bytes) == (2, 1024**3)
    assert 0 < stats.host_used_bytes <= 2 * largest_image(world)


def test_hello_is_answered_with_what_the_engine_serves(world: World, front: Front) -> None:
    front.engine.receive(FRONT, Hello(BUILD))
    [welcome] = front.welcomes
    assert (welcome.build, welcome.base_digest) == (BUILD, world.facts.digest)
    assert welcome.max_context == 512


def test_idle_engine_has_nothing_to_run(front: Front) -> None:
    assert not front.step()
    assert not front.engine.is_loading
    assert front.engine.residency.place_of("sha256:none") is Place.ABSENT
