"""Requests are built whole, and answers collected whole."""

import pytest

from weft.client import Answer, AsyncClient, Client, Sampling, Stopping, WeftError, system, user
from weft.client.generation import generate_request
from weft.protos.v1 import inference_pb2, types_pb2

from .service import DIGEST, State


@pytest.mark.parametrize(
    ("request_", "prompt"),
    [
        (generate_request("m", text=""), "text"),
        (generate_request("m", chat=[user("hi")]), "chat"),
        (generate_request("m", tokens=[1, 2]), "tokens"),
    ],
)
def test_a_request_has_the_prompt_that_was_given(
    request_: inference_pb2.GenerateRequest, prompt: str
) -> None:
    assert (request_.model, request_.WhichOneof("prompt")) == ("m", prompt)


def test_a_request_without_a_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="0 prompts"):
        generate_request("m")


def test_a_request_with_two_prompts_is_refused() -> None:
    with pytest.raises(ValueError, match="2 prompts"):
        generate_request("m", text="", tokens=[1])


def test_options_are_the_fields_of_the_request() -> None:
    request = generate_request(
        "m",
        chat=[system("Be brief."), user("Hi")],
        sampling=Sampling(temperature=0),
        stopping=Stopping(max_tokens=3, stop=["."]),
        n=2,
        logprobs=0,
        priority=types_pb2.PRIORITY_HIGH,
    )
    assert [message.role for message in request.chat.messages] == ["system", "user"]
    assert request.sampling.HasField("temperature")
    assert (request.stopping.max_tokens, request.n, request.priority) == (3, 2, 1)
    assert request.HasField("logprobs")


def test_an_answer_keeps_its_completions_apart() -> None:
    answer = Answer()
    response = inference_pb2.GenerateResponse
    logprobs = [inference_pb2.TokenLogprobs()]
    for index, text in [(0, "a"), (1, "x"), (0, "b")]:
        chunk = inference_pb2.Chunk(index=index, text=text, token_ids=[7], logprobs=logprobs)
        assert answer.add(response(chunk=chunk)) == chunk
    finished = inference_pb2.Finished(index=1, reason=inference_pb2.FINISH_REASON_LENGTH)
    assert answer.add(response(finished=finished)) is None
    assert answer.text == "ab"
    assert answer.completions[0].finished is None
    assert answer.completions[1].finished == finished
    assert (answer.completions[0].token_ids, len(answer.completions[0].logprobs)) == ([7, 7], 2)


def test_an_answer_without_a_chunk_has_no_text() -> None:
    assert Answer().text == ""


def test_chunks_stream_and_the_answer_fills(weft: Client) -> None:
    answer = Answer()
    texts = [chunk.text for chunk in weft.generate("support", answer=answer, text="one two")]
    assert texts == ["one ", "two "]
    assert answer.resolved is not None
    assert (answer.resolved.model, answer.resolved.digest) == ("support@7", DIGEST)
    assert answer.usage is not None
    assert answer.usage.generated_tokens == 2


async def test_chunks_stream_on_asyncio(async_weft: AsyncClient) -> None:
    chunks = [chunk.text async for chunk in async_weft.generate("support", chat=[user("hi")])]
    assert chunks == ["hi "]


async def test_complete_collects(async_weft: AsyncClient) -> None:
    assert (await async_weft.complete("support", text="one two")).text == "one two "


def test_leaving_the_iteration_cancels_the_call(weft: Client, state: State) -> None:
    stream = weft.generate("endless", text="go")
    assert next(iter(stream)).text == "on "
    del stream
    assert state.cancelled.wait(10)


async def test_closing_the_iteration_cancels_the_call(
    async_weft: AsyncClient, state: State
) -> None:
    stream = async_weft.generate("endless", text="go")
    assert (await anext(stream)).text == "on "
    await stream.aclose()
    assert state.cancelled.wait(10)


def test_a_broken_generation_is_never_repeated(weft: Client, state: State) -> None:
    answer = Answer()
    with pytest.raises(WeftError) as raised:
        list(weft.generate("breaks", answer=answer, text="one"))
    assert raised.value.reason == "ENGINE_UNAVAILABLE"
    assert (answer.text, answer.usage) == ("one ", None)
    assert len(state.seen(inference_pb2.GenerateRequest)) == 1


def test_tokenize_shows_a_text_or_a_chat(weft: Client) -> None:
    for answer in (
        weft.tokenize("support", text="ab"),
        weft.tokenize("support", chat=[user("ab")]),
    ):
        assert (answer.text, list(answer.token_ids)) == ("ab", [97, 98])
