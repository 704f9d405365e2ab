"""Completions of a given form, among others of the batch."""

import json
import re
from collections.abc import Iterator

import pytest
from llguidance import LLMatcher
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from weft.server.channel import Sampling
from weft.server.config import EngineConfig
from weft.server.engine.engine import Engine

from .worlds import FRONT, LORAS, Answer, Front, World

CONFIG = EngineConfig(kv_bytes=1_000_000, arena_bytes=4_000_000, max_sequences=32)
WORD = r"[a-z]{3}(,[a-z]{3}){1,4}"
SCHEMA = {
    "type": "object",
    "properties": {"name": {"enum": ["warp", "weft"]}, "count": {"type": "integer"}},
    "required": ["name", "count"],
    "additionalProperties": False,
}
NEVER: frozenset[int] = frozenset()


@pytest.fixture
def front(world: World) -> Iterator[Front]:
    front = Front(world, CONFIG)
    yield front
    front.close()


@pytest.fixture(scope="module")
def tokenizer(world: World) -> PreTrainedTokenizerFast:
    loaded = AutoTokenizer.from_pretrained(world.folder)
    assert isinstance(loaded, PreTrainedTokenizerFast)
    return loaded


def regex(text: str) -> str:
    return LLMatcher.grammar_from_regex(text)


def text_of(answer: Answer, tokenizer: PreTrainedTokenizerFast) -> str:
    assert answer.failed is None
    return str(tokenizer.decode(answer.tokens, skip_special_tokens=True))


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_every_row_keeps_its_own_form_and_the_others_are_untouched(
    front: Front, tokenizer: PreTrainedTokenizerFast, temperature: float
) -> None:
    def ask(model: str | None, grammar: str | None) -> int:
        sampling = Sampling(temperature=temperature, seed=3)
        return front.submit(
            [5, 6, 7],
            model=model,
            sampling=sampling,
            grammar=grammar,
            max_tokens=60,
            stop_tokens=frozenset([tokenizer.eos_token_id]),
            logprobs=1,
        )

    free_alone = [ask(model, None) for model in (None, *LORAS)]
    front.finish()
    models = (None, *LORAS)
    words = [ask(model, regex(WORD)) for model in models]
    free = [ask(model, None) for model in models]
    objects = [ask(m, LLMatcher.grammar_from_json_schema(json.dumps(SCHEMA))) for m in models]
    front.finish()
    for stream in words:
        assert re.fullmatch(WORD, text_of(front.answers[stream], tokenizer))
        finished = front.answers[stream].finished
        assert finished is not None
        assert finished.reason == "stop"
    for stream in objects:
        finished = front.answers[stream].finished
        assert finished is not None
        text = text_of(front.answers[stream], tokenizer)
        if finished.reason == "stop":
            assert set(json.loads(text)) == {"name", "count"}
        else:  # a number has no longest form
            assert re.match(r'\{\s*"name"\s*:\s*"we|"name"\s*:\s*"wa|\{', text)
    assert [front.answers[s].tokens for s in free] == [front.answers[s].tokens for s in free_alone]


def test_a_form_that_nothing_can_follow_ends_without_an_end_token(
    front: Front, tokenizer: PreTrainedTokenizerFast
) -> None:
    stream = front.submit([5, 6], grammar=regex("(yes|no)"), max_tokens=60, min_tokens=50)
    front.finish()
    answer = front.answers[stream]
    assert text_of(answer, tokenizer) in ("yes", "no")
    assert tokenizer.eos_token_id not in answer.tokens


def test_end_tokens_come_only_where_the_form_is_whole(
    front: Front, tokenizer: PreTrainedTokenizerFast
) -> None:
    end = int(tokenizer.eos_token_id)
    wants_to_end = Sampling(logit_bias={end: 100.0})
    streams = [
        front.submit([5], grammar=regex("(ab){2,9}"), sampling=wants_to_end, **asked)  # type: ignore[arg-type]
        for asked in (
            {"stop_tokens": frozenset([end]), "max_tokens": 60},
            {"stop_tokens": frozenset([end]), "max_tokens": 60, "min_tokens": 6},
            {"stop_tokens": NEVER, "max_tokens": 60},
        )
    ]
    front.finish()
    texts = [text_of(front.answers[stream], tokenizer) for stream in streams]
    assert texts[0] == "abab"
    assert re.fullmatch("(ab){3,9}", texts[1])
    assert texts[2] == "ab" * 9


def test_preempted_rows_keep_their_place_in_the_form(
    world: World, tokenizer: PreTrainedTokenizerFast
) -> None:
    config = EngineConfig(kv_bytes=8 * 8_192, arena_bytes=4_000_000, max_context=64)
    front = Front(world, config)
    streams = [
        front.submit([5 + i] * 20, grammar=regex("[ab]{40}"), max_tokens=44) for i in range(4)
    ]
    preempted = False
    while not all(answer.is_over for answer in front.answers.values()):
        front.advance()
        preempted |= any(s.admitted_at for s in front.engine.scheduler.waiting)
    assert preempted
    for stream in streams:
        assert re.fullmatch("[ab]{40}", text_of(front.answers[stream], tokenizer))
    front.close()


def test_a_request_can_be_given_up_while_its_grammar_is_compiled(front: Front) -> None:
    stream = front.submit([5], grammar=regex("a"))
    front.engine.abort(FRONT, stream)
    front.submit([6])
    while not front.answers[2].is_over:
        front.advance()
    assert front.answers[stream].finished is None


def test_a_grammar_that_cannot_be_compiled_is_refused_by_its_field(front: Front) -> None:
    stream = front.submit([5], grammar=regex("("))
    front.finish()
    failed = front.answers[stream].failed
    assert failed is not None
    assert (failed.reason, failed.metadata) == ("REQUEST_INVALID", {"field": "constraint"})
    assert "unclosed group" in failed.message


def test_an_engine_without_a_tokenizer_says_so(world: World) -> None:
    heard: list[object] = []

    def hear(_: bytes, message: object) -> bool:
        heard.append(message)
        return True

    front = Front(world, CONFIG)
    engine = Engine(world.model, world.facts, CONFIG, send=hear)
    front.engine.close()
    front.engine = engine
    front.submit([5], grammar=regex("a"))
    while not heard:
        engine.step()
        engine.wait(0.01)
    assert "without a tokenizer" in str(heard[0])
    engine.close()
