"""From the engine's tokens to the messages of a stream; the engine is spoken by hand."""

from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path

import pytest

from weft.protos.v1 import inference_pb2, types_pb2
from weft.protos.v1.inference_pb2 import GenerateResponse
from weft.server.channel import (
    Beams,
    Finished,
    Hypotheses,
    Hypothesis,
    Sampling,
    Submit,
    TokenLogprobs,
)
from weft.server.errors import PromptTooLong
from weft.server.rpc.engine_link import EngineLink, Said, Token
from weft.server.rpc.generation import Generation, Outcome, longest_completion
from weft.server.rpc.prompts import Tokenizer
from weft.server.rpc.requests import Plan


def plan(
    *,
    max_tokens: int | None = None,
    stop: tuple[str, ...] = (),
    stop_tokens: frozenset[int] = frozenset(),
    include_stop: bool = False,
    min_tokens: int = 0,
    n: int = 1,
    beams: Beams | None = None,
) -> Plan:
    return Plan(
        request_id="r",
        n=n,
        sampling=Sampling(),
        max_tokens=max_tokens,
        stop=stop,
        stop_tokens=stop_tokens,
        min_tokens=min_tokens,
        grammar=None,
        include_stop=include_stop,
        logprobs=None,
        prompt_logprobs=None,
        flush_s=0.0,
        beams=beams,
    )


@pytest.mark.parametrize(
    ("wanted", "prompt_tokens", "expected"), [(None, 90, 10), (7, 90, 7), (10, 90, 10)]
)
def test_the_context_limits_a_completion(
    wanted: int | None, prompt_tokens: int, expected: int
) -> None:
    found = longest_completion(
        plan(max_tokens=wanted), prompt_tokens=prompt_tokens, max_context=100
    )
    assert found == expected


@pytest.mark.parametrize(("wanted", "prompt_tokens"), [(None, 100), (11, 90), (1, 100)])
def test_what_does_not_fit_is_refused_with_both_figures(
    wanted: int | None, prompt_tokens: int
) -> None:
    with pytest.raises(PromptTooLong, match="exceed the context, 100") as caught:
        longest_completion(plan(max_tokens=wanted), prompt_tokens=prompt_tokens, max_context=100)
    assert caught.value.metadata["prompt_tokens"] == str(prompt_tokens)


def test_an_outcome_tells_the_time_of_its_later_tokens() -> None:
    outcome = Outcome()
    assert outcome.later_token_s() is None
    outcome.saw_tokens(1, elapsed_s=1.0)
    assert outcome.later_token_s() is None
    outcome.saw_tokens(2, elapsed_s=2.0)
    outcome.saw_tokens(2, elapsed_s=3.0)
    assert (outcome.generated_tokens, outcome.first_token_s) == (5, 1.0)
    assert outcome.later_token_s() == 0.5


@pytest.fixture(scope="module")
def tokenizer(tiny_llama: Path) -> Tokenizer:
    return Tokenizer(tiny_llama)


def ids(tokenizer: Tokenizer, text: str) -> list[int]:
    found: list[int] = tokenizer.hf.encode(text, add_special_tokens=False)
    return found


class Spoken(EngineLink):
    """A link whose engine says these batches, and that hears what is aborted."""

    def __init__(self, batches: Sequence[list[Said]]) -> None:
        self._said = batches
        self.aborted: list[int] = []

    async def stream(
        self, submit: Callable[[int], Submit], *, n: int = 1, flush_s: float = 0.0
    ) -> AsyncGenerator[list[Said], None]:
        for number in range(5, 5 + n):
            submit(number)
        for batch in self._said:
            yield batch

    def abort(self, number: int) -> None:
        self.aborted.append(number)


def submit(number: int, index: int, first: int | None) -> Submit:
    assert (index, first) == (number - 5, 5 if index else None)
    return Submit(
        stream=number,
        digest=None,
        tokens=[1],
        sampling=Sampling(),
        max_tokens=4,
        stop_tokens=frozenset(),
        salt="",
    )


def finished(reason: str, *, tier: str = "disk", stream: int = 5) -> Finished:
    return Finished(
        stream=stream,
        reason=reason,
        prompt_tokens=3,
        cached_tokens=2,
        generated_tokens=9,
        queue_s=0.001,
        load_s=0.002,
        prefill_s=0.003,
        decode_s=0.004,
        tier=tier,
    )


def tokens(numbers: Sequence[int], *, stream: int = 5) -> list[Said]:
    return [Token(stream, number, None) for number in numbers]


async def run(
    tokenizer: Tokenizer, wanted: Plan, link: Spoken
) -> tuple[list[GenerateResponse], Outcome]:
    generation = Generation(wanted, tokenizer)
    found = [response async for response in generation.run(link, submit)]
    return found, generation.outcome


def text_of(responses: Sequence[GenerateResponse]) -> str:
    return "".join(response.chunk.text for response in responses)


async def test_chunks_then_finished_then_usage(tokenizer: Tokenizer) -> None:
    said = ids(tokenizer, "the quick brown fox")
    link = Spoken([tokens(said[:1]), [*tokens(said[1:]), finished("length")]])
    responses, outcome = await run(tokenizer, plan(), link)
    assert [r.WhichOneof("event") for r in responses] == ["chunk", "chunk", "finished", "usage"]
    assert text_of(responses) == "the quick brown fox"
    assert responses[2].finished.reason == inference_pb2.FINISH_REASON_LENGTH
    usage = responses[3].usage
    assert (usage.prompt_tokens, usage.cached_tokens, usage.generated_tokens) == (3, 2, len(said))
    assert (usage.queue_ms, usage.load_ms, usage.prefill_ms, usage.decode_ms) == (1, 2, 3, 4)
    assert usage.tier == types_pb2.TIER_DISK
    assert outcome.reason == "LENGTH"
    assert link.aborted == []


async def test_a_stop_string_aborts_and_nothing_after_it_is_said(tokenizer: Tokenizer) -> None:
    said = ids(tokenizer, "the quick brown fox")
    link = Spoken([tokens(said), tokens(said), [*tokens(said), finished("abort")]])
    responses, outcome = await run(tokenizer, plan(stop=("quick",)), link)
    assert text_of(responses) == "the "
    assert link.aborted == [5]
    end = responses[-2].finished
    assert (end.reason, end.stop) == (inference_pb2.FINISH_REASON_STOP_STRING, "quick")
    assert responses[-1].usage.prompt_tokens == 3
    assert end.generated_tokens == outcome.generated_tokens < len(said)


@pytest.mark.parametrize("include", [False, True])
async def test_a_special_end_token_is_shown_when_asked(tokenizer: Tokenizer, include: bool) -> None:
    [end] = ids(tokenizer, "<|end|>")
    link = Spoken([[*tokens([*ids(tokenizer, "fox"), end]), finished("stop")]])
    wanted = plan(stop_tokens=frozenset([end]), include_stop=include)
    responses, _ = await run(tokenizer, wanted, link)
    assert text_of(responses) == ("fox<|end|>" if include else "fox")
    assert responses[-2].finished.stop_token_id == end


async def test_text_that_was_held_back_is_given_at_the_end(tokenizer: Tokenizer) -> None:
    link = Spoken([[*tokens(ids(tokenizer, "the qui")), finished("length")]])
    responses, _ = await run(tokenizer, plan(stop=("quick",)), link)
    assert text_of(responses) == "the qui"


async def test_logprobs_name_tokens_by_their_bytes(tokenizer: Tokenizer) -> None:
    token, other = ids(tokenizer, "a")[0], ids(tokenizer, "b")[0]
    found = TokenLogprobs(-0.5, [token, other], [-0.5, -1.5])
    link = Spoken([[Token(5, token, found), finished("length")]])
    responses, _ = await run(tokenizer, plan(), link)
    [logprobs] = responses[0].chunk.logprobs
    assert (logprobs.chosen.token, logprobs.chosen.logprob) == (b"a", -0.5)
    assert [each.token for each in logprobs.alternatives] == [b"a", b"b"]


async def test_completions_of_one_prompt_are_told_apart(tokenizer: Tokenizer) -> None:
    one, two = ids(tokenizer, "the quick fox"), ids(tokenizer, "the lazy dog")
    link = Spoken(
        [
            tokens(one[:2]),
            [*tokens(one[2:]), *tokens(two[:-1], stream=6), finished("length")],
            [*tokens(two[-1:], stream=6), finished("stop", stream=6)],
        ]
    )
    responses, outcome = await run(tokenizer, plan(n=2), link)
    texts = ["", ""]
    for response in responses:
        texts[response.chunk.index] += response.chunk.text
    assert texts == ["the quick fox", "the lazy dog"]
    ends = [r.finished for r in responses if r.HasField("finished")]
    assert [(end.index, end.generated_tokens) for end in ends] == [(0, len(one)), (1, len(two))]
    usage = responses[-1].usage
    assert (usage.prompt_tokens, usage.generated_tokens) == (3, len(one) + len(two))
    assert outcome.reason == "LENGTH"


async def test_hypotheses_are_completions_that_come_whole_and_with_their_score(
    tokenizer: Tokenizer,
) -> None:
    [end] = ids(tokenizer, "<|end|>")
    one, two = [*ids(tokenizer, "the quick fox"), end], ids(tokenizer, "the lazy dog")
    found = [Hypothesis(one, -0.5, "stop"), Hypothesis(two, -0.75, "length")]
    link = Spoken([[Hypotheses(5, found)], [finished("stop")]])
    wanted = plan(n=2, beams=Beams(4, 2), stop_tokens=frozenset([end]))
    responses, outcome = await run(tokenizer, wanted, link)
    kinds = [response.WhichOneof("event") for response in responses]
    assert kinds == ["chunk", "finished", "chunk", "finished", "usage"]
    assert [r.chunk.text for r in responses[::2][:2]] == ["the quick fox", "the lazy dog"]
    assert list(responses[0].chunk.token_ids) == one
    ends = [response.finished for response in responses[1::2]]
    assert [(end.index, end.score) for end in ends] == [(0, -0.5), (1, -0.75)]
    assert [end.generated_tokens for end in ends] == [len(one), len(two)]
    assert ends[0].stop_token_id == end
    assert not ends[1].HasField("stop_token_id")
    assert responses[-1].usage.generated_tokens == len(one) + len(two)
    assert outcome.reason == "STOP"


async def test_a_stop_string_ends_its_own_completion_only(tokenizer: Tokenizer) -> None:
    one, two = ids(tokenizer, "the quick fox"), ids(tokenizer, "the lazy dog")
    link = Spoken(
        [
            [*tokens(one), *tokens(two, stream=6)],
            [finished("abort"), finished("length", stream=6)],
        ]
    )
    responses, _ = await run(tokenizer, plan(n=2, stop=("quick",)), link)
    assert link.aborted == [5]
    ends = [r.finished for r in responses if r.HasField("finished")]
    assert [end.stop for end in ends] == ["quick", ""]
