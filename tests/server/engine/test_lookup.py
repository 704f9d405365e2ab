"""Drafts from a sequence's own text change nothing but the number of steps."""

import random
from contextlib import closing

import pytest

from weft.server.channel import Sampling, Submit
from weft.server.config import EngineConfig
from weft.server.engine.lookup import RETRY_TOKENS, Past, Speculation
from weft.server.engine.plan import Chunk, Plan
from weft.server.engine.prices import Prices
from weft.server.engine.sequence import Sequence
from weft.server.engine.step_time import StepTime

from .worlds import LORAS, Answer, Front, World


def test_a_draft_is_what_followed_the_last_tokens_the_time_before() -> None:
    past = Past()
    assert past.draft([1, 2, 3, 4], 3) == ()
    assert past.draft([1, 2, 3, 4, 9, 1, 2, 3], 3) == (4, 9, 1)
    assert past.draft([1, 2, 3, 4, 9, 1, 2, 3, 7, 2, 3], 2) == (7, 2)
    assert past.draft([1, 2, 3, 4, 9, 1, 2, 3, 7, 2, 3, 5], 2) == ()


def test_a_draft_never_runs_past_the_text() -> None:
    assert Past().draft([5, 6, 5, 6], 9) == (5, 6)


def test_who_is_wrong_too_often_is_left_alone_for_a_while() -> None:
    past = Past()
    for position in range(30):
        past.learn(num_drafts=4, num_right=0, position=position)
    assert past.rests_until == 29 + RETRY_TOKENS


def decodes(*tokens: list[int], max_tokens: int = 50) -> Plan:
    """Sequences of four blocks that have generated all of these tokens but the first."""
    chunks = []
    for each in tokens:
        request = Submit(
            stream=1,
            digest=None,
            tokens=each[:1],
            sampling=Sampling(),
            max_tokens=max_tokens,
            stop_tokens=frozenset(),
            salt="",
        )
        sequence = Sequence(b"", request, arrival=0, root=b"", submitted_at=0.0)
        sequence.tokens = list(each)
        sequence.blocks = [0, 1, 2, 3]
        chunks.append(Chunk(sequence, len(each) - 1, len(each)))
    return Plan(tuple(chunks))


REPEATS = [1, 2, 3, 4, 1, 2, 3]
PRICES = Prices(
    prefill_us=1.0, cached_us=0.1, decode_us=1.0, kv_us=0.0, element_us=0.0, load_us=0.0
)


def test_drafts_pay_where_a_step_costs_more_than_its_rows() -> None:
    flat, steep = StepTime(PRICES), StepTime(PRICES)
    for num in (1, 5, 9, 2, 6) * 20:
        flat.observe(num, 0, 0.01 + 0.0001 * num)
        steep.observe(num, 0, 0.01 * num)
    for step_time, pays in ((flat, True), (steep, False)):
        speculation = Speculation(3, step_time, block_tokens=4)
        plan = speculation.extend(decodes(REPEATS, [5, 6, 7]))
        assert [chunk.drafts for chunk in plan.chunks] == [(4, 1, 2) if pays else (), ()]


def test_drafts_keep_to_the_blocks_held_and_to_max_tokens() -> None:
    step_time = StepTime(PRICES)
    for num in (1, 5) * 20:
        step_time.observe(num, 0, 0.01)
    speculation = Speculation(9, step_time, block_tokens=2)
    [chunk] = speculation.extend(decodes(REPEATS)).chunks  # 7 tokens, 4 blocks of 2
    assert chunk.drafts == (4,)
    plan = decodes(REPEATS, max_tokens=6)  # all of them are generated
    assert speculation.extend(plan) == plan


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_tokens_are_those_without_drafts(world: World, temperature: float) -> None:
    num_right = 0

    def run(speculate: int | None) -> list[Answer]:
        config = EngineConfig(
            kv_bytes=1_000_000, arena_bytes=4_000_000, max_sequences=32, speculate=speculate
        )
        draw = random.Random(0)
        with closing(Front(world, config)) as front:
            for i, model in enumerate([None, *LORAS]):
                phrase = draw.choices(range(4, 300), k=6)
                front.submit(
                    phrase * 4,
                    model=model,
                    max_tokens=60,
                    sampling=Sampling(
                        temperature=temperature, seed=i, logit_bias=dict.fromkeys(phrase, 8.0)
                    ),
                    stop_tokens=frozenset([phrase[0]]) if i == 3 else frozenset(),
                    logprobs=1,
                )
            speculation = front.engine._speculation
            speculation._pays = lambda *_: bool(speculate)  # type: ignore[method-assign]
            learn = speculation.learn

            def note(chunk: Chunk, num: int) -> None:
                nonlocal num_right
                num_right += num
                learn(chunk, num)

            speculation.learn = note  # type: ignore[method-assign, assignment]
            while not all(answer.is_over for answer in front.answers.values()):
                front.advance()
                front.engine.scheduler.check_integrity()
            return list(front.answers.values())

    without = run(None)
    assert num_right == 0
    with_drafts = run(5)
    assert num_right > 40
    for one, other in zip(without, with_drafts, strict=True):
        assert other.tokens == one.tokens
        for found, expected in zip(other.logprobs, one.logprobs, strict=True):
            assert found is not None
            assert expected is not None
            assert found.logprob == pytest.approx(expected.logprob, abs=1e-4)
        assert other.finished is not None
        assert one.finished is not None
        assert other.finished.reason == one.finished.reason
