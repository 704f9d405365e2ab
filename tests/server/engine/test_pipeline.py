"""Steps that are launched before the last is read: the same tokens, and the same books.

On a CPU a launch has run when it returns, so this is the order of things, not their overlap.
"""

import random
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest
import torch
from llguidance import LLMatcher

from weft.server.channel import Beams, Sampling
from weft.server.config import EngineConfig
from weft.server.engine.plan import Plan
from weft.server.engine.runner import Flight
from weft.server.model.loader import load_model

from .worlds import FRONT, LORAS, Answer, Front, World, capture_graphs

CONFIG = EngineConfig(kv_bytes=1_000_000, arena_bytes=4_000_000, max_sequences=32)
BLOCK_BYTES = 8_192
MODELS = [None, *LORAS, None]


class Ahead(Front):
    """A front whose engine leaves a step in flight.

    Attributes:
        plans: Of every step that was launched.
    """

    def __init__(self, world: World, config: EngineConfig = CONFIG, *, graphs: bool = False):
        super().__init__(world, config, runs_ahead=True)
        self.plans: list[Plan] = []
        runner = self.engine._runner
        if graphs:
            runner.graphs = capture_graphs(self, max_rows=32)
        launch = runner.launch

        def note(plan: Plan, *, after: Flight | None, now: float) -> Flight:
            self.plans.append(plan)
            return launch(plan, after=after, now=now)

        runner.launch = note  # type: ignore[method-assign]

    @property
    def num_following(self) -> int:
        return sum(bool(plan.follows) for plan in self.plans)

    def advance(self) -> None:
        super().advance()
        self.engine.check_integrity()


def prompt(length: int, seed: int = 0) -> list[int]:
    return random.Random(1000 * length + seed).choices(range(4, 300), k=length)


def submit_mixed(front: Front) -> list[int]:
    """Requests of every model and kind, at once and while others run; one is given up."""
    streams = []
    for i, model in enumerate(MODELS):
        sampling = Sampling(temperature=1.0 if i % 2 else 0.0, seed=i, top_p=0.9)
        streams.append(
            front.submit(
                prompt(3 + 7 * i),
                model=model,
                max_tokens=(1, 2, 17, 33, 40)[i % 5],
                sampling=sampling,
                stop_tokens=frozenset(range(0, 300, 29)) if i % 3 else frozenset(),
                min_tokens=i % 4,
                logprobs=2 if i % 3 == 1 else None,
            )
        )
        for _ in range(2 * (i % 4)):
            front.advance()
    return streams


def same(one: Answer, other: Answer) -> None:
    assert other.tokens == one.tokens
    assert one.finished is not None
    assert other.finished is not None
    for name in ("reason", "prompt_tokens", "generated_tokens"):
        assert getattr(other.finished, name) == getattr(one.finished, name)
    for found, expected in zip(other.logprobs, one.logprobs, strict=True):
        assert (found is None) == (expected is None)
        if found is not None and expected is not None:
            assert found.logprob == pytest.approx(expected.logprob, abs=1e-5)
            assert found.tokens == expected.tokens


@pytest.mark.parametrize("graphs", [False, True], ids=["laid out", "graphs"])
def test_mixed_batches_get_the_tokens_of_steps_that_wait(world: World, graphs: bool) -> None:
    with closing(Front(world, CONFIG)) as front:
        expected = [front.answers[stream] for stream in submit_mixed(front)]
        front.finish()
    with closing(Ahead(world, graphs=graphs)) as front:
        found = [front.answers[stream] for stream in submit_mixed(front)]
        front.finish()
        assert front.num_following > 25
        assert front.engine.blocks.num_available == front.engine.blocks.num_blocks
    for one, other in zip(expected, found, strict=True):
        same(one, other)


def test_beams_on_graphs_find_what_they_find_in_steps_laid_out(world: World) -> None:
    def submit_all(front: Front) -> list[int]:
        streams = [
            front.submit(prompt(12 + i), model=model, max_tokens=40, beams=Beams(num, num))
            for i, (model, num) in enumerate([(None, 4), ("r8 on all", 3), ("r64 on o", 8)])
        ]
        front.submit(prompt(9), max_tokens=70)
        front.finish()
        return streams

    with closing(Front(world, CONFIG)) as front:
        expected = [front.answers[stream].hypotheses for stream in submit_all(front)]
    with closing(Ahead(world, graphs=True)) as front:
        found = [front.answers[stream].hypotheses for stream in submit_all(front)]
        searching = [p for p in front.plans if any(c.sequence.leader for c in p.chunks)]
        copies = [c for plan in searching for c in plan.chunks if c.source is not None]
        assert len(copies) > 50
    for one, other in zip(expected, found, strict=True):
        assert [h.tokens for h in other] == [h.tokens for h in one]
        assert [h.score for h in other] == pytest.approx([h.score for h in one], abs=1e-4)


@contextmanager
def steady(world: World, *, graphs: bool = False) -> Iterator[tuple[Ahead, list[int]]]:
    """Two sequences that decode, the first with an adapter, and a step in flight that followed."""
    with closing(Ahead(world, graphs=graphs)) as front:
        front.submit(prompt(5), model="r8 on all", max_tokens=1)
        front.finish()  # the adapter is there
        front.plans.clear()
        streams = [
            front.submit(prompt(14), model="r8 on all", max_tokens=60),
            front.submit(prompt(15), max_tokens=60),
        ]
        while front.num_following < 5:
            front.advance()
        yield front, streams


def answers_of(world: World, *requests: tuple[int, int, str | None, int]) -> list[list[int]]:
    """Tokens from an engine that waits, of prompts by length and seed, models and max_tokens."""
    with closing(Front(world, CONFIG)) as front:
        streams = [
            front.submit(prompt(length, seed), model=model, max_tokens=max_tokens)
            for length, seed, model, max_tokens in requests
        ]
        front.finish()
        return [front.answers[stream].tokens for stream in streams]


def test_a_step_in_flight_is_told_by_the_next(world: World) -> None:
    with steady(world) as (front, streams):
        for _ in range(3):
            told = [len(front.answers[stream].tokens) for stream in streams]
            in_flight = [chunk.position for chunk in front.plans[-1].chunks]
            assert in_flight == told
            front.advance()
            assert [len(front.answers[stream].tokens) for stream in streams] == [
                num + 1 for num in told
            ]


def test_an_end_found_late_wastes_one_row_and_no_block(world: World) -> None:
    [tokens] = answers_of(world, (14, 0, None, 20))
    stop = next(token for n, token in enumerate(tokens) if n > 3 and token not in tokens[:n])
    with closing(Ahead(world)) as front:
        stream = front.submit(prompt(14), max_tokens=20, stop_tokens=frozenset([stop]))
        front.finish()
        answer = front.answers[stream]
        assert answer.tokens == tokens[: tokens.index(stop) + 1]
        assert answer.finished is not None
        assert answer.finished.reason == "stop"
        assert len(front.plans) == len(answer.tokens) + 1
        assert front.engine.blocks.num_available == front.engine.blocks.num_blocks
        assert front.step()
        assert answer.tokens[-1] == stop
        assert not front.step()


def test_an_end_by_max_tokens_is_foreseen(world: World) -> None:
    with closing(Ahead(world)) as front:
        front.submit(prompt(14), max_tokens=9)
        front.finish()
        assert (len(front.plans), front.num_following) == (9, 8)


def test_an_abort_frees_what_is_in_flight_at_once_and_harms_nobody(world: World) -> None:
    with steady(world) as (front, (first, second)):
        num_free = front.engine.blocks.num_available
        front.engine.abort(FRONT, first)
        front.engine.check_integrity()
        assert front.engine.blocks.num_available > num_free
        answer, told = front.answers[first], list(front.answers[first].tokens)
        assert answer.finished is not None
        assert answer.finished.generated_tokens == len(told)
        front.advance()
        assert front.plans[-1].follows == (1,)
        third = front.submit(prompt(90, 3), max_tokens=30)
        front.finish()
        found = [front.answers[stream].tokens for stream in (first, second, third)]
    assert found[0] == told
    expected = answers_of(world, (15, 0, None, 60), (90, 3, None, 30))
    assert found[1:] == expected


@pytest.mark.parametrize("graphs", [False, True], ids=["laid out", "graphs"])
def test_newcomers_join_a_step_that_follows(world: World, graphs: bool) -> None:
    """One with a prompt, and one of which all but the last token is computed already."""
    with steady(world, graphs=graphs) as (front, _):
        front.submit(prompt(33), max_tokens=1)
        front.advance()
        assert front.plans[-1].follows == (0, 1, None)
        while front.engine.scheduler.running[2:]:
            front.advance()
        third = front.submit(prompt(33), max_tokens=7)
        front.advance()
        front.advance()
        newcomer, after = front.plans[-2:]
        assert newcomer.follows == (0, 1, None)
        assert newcomer.chunks[2].num_rows == 1
        assert after.follows == (0, 1, 2)
        front.finish()
        assert [front.answers[third].tokens] == answers_of(world, (33, 0, None, 7))


def test_a_prompt_of_several_steps_is_run_ahead_of(world: World) -> None:
    with closing(Ahead(world, replace(CONFIG, max_batch_tokens=8))) as front:
        streams = [front.submit(prompt(20 + i), max_tokens=9) for i in range(2)]
        front.finish()
        assert len(front.plans) == 14
        assert [bool(plan.follows) for plan in front.plans] == [False] * 3 + [True] * 11
        found = [front.answers[stream].tokens for stream in streams]
    assert found == answers_of(world, (20, 0, None, 9), (21, 0, None, 9))


def test_who_waits_takes_the_place_of_one_that_ends_for_certain(world: World) -> None:
    config = replace(CONFIG, max_sequences=2)
    with closing(Ahead(world, config)) as front:
        for i in range(3):
            front.submit(prompt(9 + i), max_tokens=(5, 12, 12)[i])
        front.finish()
        assert [len(plan.chunks) for plan in front.plans[:-5]] == [2] * 12
        assert front.num_following == len(front.plans) - 1


@pytest.mark.parametrize(
    ("sampling", "grammar"),
    [
        (Sampling(frequency_penalty=0.5), None),
        (Sampling(repetition_penalty=1.3, temperature=1.0), None),
        (Sampling(), LLMatcher.grammar_from_regex("[ab]{30}")),
    ],
    ids=["greedy", "drawn", "formed"],
)
def test_who_looks_back_at_its_tokens_is_not_followed(
    world: World, sampling: Sampling, grammar: str | None
) -> None:
    def run(front: Front) -> list[list[int]]:
        first = front.submit(prompt(9), max_tokens=12, sampling=sampling, grammar=grammar)
        while not front.engine.scheduler.running:
            front.advance()
        streams = [first, front.submit(prompt(8))]
        front.finish()
        return [front.answers[stream].tokens for stream in streams]

    with closing(Front(world, CONFIG)) as front:
        expected = run(front)
    with closing(Ahead(world)) as front:
        assert run(front) == expected
        assert front.num_following == 0


def test_beams_are_not_followed_and_keep_to_themselves(world: World) -> None:
    def run(front: Front) -> list[Answer]:
        streams = [front.submit(prompt(9), max_tokens=25)]
        for _ in range(4):
            front.advance()
        streams.append(front.submit(prompt(11), max_tokens=9, beams=Beams(3, 3)))
        front.finish()
        return [front.answers[stream] for stream in streams]

    with closing(Front(world, CONFIG)) as front:
        expected = run(front)
    with closing(Ahead(world)) as front:
        found = run(front)
        assert 10 < front.num_following < len(front.plans) - 8
    assert found[0].tokens == expected[0].tokens
    assert [h.tokens for h in found[1].hypotheses] == [h.tokens for h in expected[1].hypotheses]
    assert len(found[1].hypotheses) == 3


def test_a_search_that_is_given_up_in_flight_is_passed_over(world: World) -> None:
    with steady(world) as (front, (_, second)):
        stream = front.submit(prompt(9), max_tokens=40, beams=Beams(4))
        while len(front.plans[-1].chunks) < 6:
            front.advance()
        front.engine.abort(FRONT, stream)
        front.engine.check_integrity()
        while not front.answers[second].is_over:
            front.advance()
        assert not front.answers[stream].hypotheses
        assert [front.answers[second].tokens] == answers_of(world, (15, 0, None, 60))


def test_drafts_are_not_run_ahead_of(world: World) -> None:
    with closing(Ahead(world, replace(CONFIG, speculate=3))) as front:
        front.submit([5, 6, 7] * 5, max_tokens=20)
        front.finish()
        assert front.num_following == 0


def test_preempted_sequences_go_on_where_they_were(world: World) -> None:
    requests = [(20, i, model, 40) for i, model in enumerate([None, "r8 on all", "r64 on o", None])]
    expected = answers_of(world, *requests)
    config = EngineConfig(kv_bytes=8 * BLOCK_BYTES, arena_bytes=4_000_000, max_context=64)
    with closing(Ahead(world, config)) as front:
        streams = [
            front.submit(prompt(length, seed), model=model, max_tokens=num)
            for length, seed, model, num in requests
        ]
        preempted = 0
        while not all(front.answers[stream].is_over for stream in streams):
            front.advance()
            preempted += any(s.admitted_at for s in front.engine.scheduler.waiting)
        assert preempted
        assert front.num_following > 20
        assert [front.answers[stream].tokens for stream in streams] == expected


def test_equal_prompts_share_blocks_that_fill_in_flight(world: World) -> None:
    """A block that turns out to be computed already is exchanged under a step in flight."""
    expected = answers_of(world, (14, 0, None, 50))
    for graphs in (False, True):
        with closing(Ahead(world, graphs=graphs)) as front:
            streams = [front.submit(prompt(14), max_tokens=50) for _ in range(3)]
            while not front.answers[streams[0]].is_over:
                front.advance()
                if front.num_following == 40:
                    tables = [s.blocks[:3] for s in front.engine.scheduler.running]
                    assert tables[0] == tables[1] == tables[2]
            front.finish()
            assert [front.answers[stream].tokens for stream in streams] == expected * 3


def test_adapters_come_and_go_only_while_nothing_is_in_flight(world: World) -> None:
    config = replace(CONFIG, arena_bytes=max(p.stat().st_size for p in world.images.values()))
    requests: list[tuple[int, int, str | None, int]] = [(9, 9, None, 200)]
    requests += [(4 + i, i, model, 9) for i, model in enumerate(list(LORAS) * 2)]
    expected = answers_of(world, *requests)
    with closing(Ahead(world, config)) as front:
        engine = front.engine
        engine.residency.turn_s = 0.0
        clear, changes = engine.arena.clear_row, 0

        def check(slot: int) -> None:
            nonlocal changes
            changes += 1
            assert engine._pipeline._flight is None
            clear(slot)

        engine.arena.clear_row = check  # type: ignore[method-assign]
        streams = [
            front.submit(prompt(length, seed), model=model, max_tokens=num)
            for length, seed, model, num in requests
        ]
        front.finish()
        assert changes > len(LORAS)
        assert engine.stats().parks > len(LORAS)
        assert front.num_following > 5
        assert [front.answers[stream].tokens for stream in streams] == expected


def test_a_launch_that_fails_fails_its_own_and_the_step_before_is_passed_over(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with steady(world) as (front, streams):
        keys = front.engine.cache.k
        front.engine.cache.k = []
        front.step()
        front.engine.cache.k = keys
        for stream in streams:
            failed = front.answers[stream].failed
            assert failed is not None
            assert failed.reason == "STEP_FAILED"
        fine = front.submit(prompt(5))
        front.finish()
        assert front.answers[fine].finished is not None
    assert "a step of 2 sequences failed" in caplog.text


def test_logits_that_are_not_finite_fail_once(world: World) -> None:
    with steady(world) as (front, (first, second)):
        front.engine.arena.data.fill_(float("nan"))
        front.finish()
        failed = front.answers[first].failed
        assert failed is not None
        assert failed.message == "the logits are not finite"
        assert front.answers[first].finished is None
        assert front.answers[second].finished is not None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_step_that_follows_is_launched_without_waiting_for_the_device(world: World) -> None:
    device = torch.device("cuda")
    model = load_model(world.folder, facts=world.facts, device=device, dtype=torch.float32)
    on_gpu = replace(world, model=model)
    with closing(Front(on_gpu, CONFIG, runs_ahead=False)) as front:
        expected = [front.answers[stream] for stream in submit_mixed(front)]
        front.finish()
    with closing(Ahead(on_gpu)) as front:
        launch = front.engine._runner.launch

        def strict(plan: Plan, *, after: Flight | None, now: float) -> Flight:
            torch.cuda.set_sync_debug_mode("error" if plan.follows else "default")
            try:
                return launch(plan, after=after, now=now)
            finally:
                torch.cuda.set_sync_debug_mode("default")

        front.engine._runner.launch = strict  # type: ignore[method-assign]
        found = [front.answers[stream] for stream in submit_mixed(front)]
        front.finish()
        assert front.num_following > 10
    for one, other in zip(expected, found, strict=True):
        same(one, other)
