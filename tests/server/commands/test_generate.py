"""`weft generate`."""

import pytest

from tests.client.service import State
from weft.protos.v1.inference_pb2 import (
    EARLY_STOPPING_NEVER,
    Finished,
    GenerateRequest,
    GenerateResponse,
    Usage,
)
from weft.protos.v1.types_pb2 import PRIORITY_HIGH, PRIORITY_UNSPECIFIED, ResolvedAdapter
from weft.server.commands.generate import Lane, side_by_side, summary

from .conftest import Weft


def requests_in(state: State) -> list[GenerateRequest]:
    return [request for request in state.requests if isinstance(request, GenerateRequest)]


def test_the_answer_streams_to_the_terminal(weft: Weft) -> None:
    ended = weft("generate", "support", "one two", "--text")
    assert (ended.code, ended.out, ended.err) == (0, "one two \n", "")


def test_a_prompt_is_a_chat_with_its_system_message(weft: Weft, state: State) -> None:
    weft("generate", "support", "Hello", "--system", "Be brief.")
    [request] = requests_in(state)
    turns = [(message.role, message.content) for message in request.chat.messages]
    assert turns == [("system", "Be brief."), ("user", "Hello")]


@pytest.mark.parametrize("prompt", [["-"], []])
def test_a_prompt_can_come_from_standard_input(weft: Weft, prompt: list[str]) -> None:
    assert weft("generate", "support", *prompt, stdin="piped").out == "piped \n"


def test_options_reach_the_request(weft: Weft, state: State) -> None:
    weft(
        *("generate", "support", "x", "--temperature", "0", "--top-p", "0.5", "--top-k", "3"),
        *("--min-p", "0.1", "--seed", "7", "--max-tokens", "9", "--stop", ".", "--stop", "!"),
        *("--logprobs", "2", "--priority", "high", "--n", "3"),
        *("--presence-penalty", "1", "--frequency-penalty", "-1", "--repetition-penalty", "1.5"),
        *("--regex", "a+", "--logit-bias", "3=-4.5", "--logit-bias", "4=1", "--min-tokens", "2"),
    )
    [request] = requests_in(state)
    sampling = request.sampling
    assert sampling.HasField("temperature")
    assert (sampling.top_p, sampling.top_k, sampling.min_p, sampling.seed) == (0.5, 3, 0.1, 7)
    assert (sampling.presence_penalty, sampling.frequency_penalty) == (1, -1)
    assert (sampling.repetition_penalty, dict(sampling.logit_bias)) == (1.5, {3: -4.5, 4: 1})
    assert (request.stopping.max_tokens, list(request.stopping.stop)) == (9, [".", "!"])
    assert (request.logprobs, request.priority) == (2, PRIORITY_HIGH)
    assert request.stopping.min_tokens == 2
    assert request.n == 3
    assert request.constraint.regex == "a+"


def test_options_of_a_beam_search_reach_the_request(weft: Weft, state: State) -> None:
    weft(
        *("generate", "support", "x", "--num-beams", "4", "--length-penalty", "-0.5"),
        *("--early-stopping", "never"),
    )
    [request] = requests_in(state)
    assert (request.num_beams, request.length_penalty) == (4, -0.5)
    assert request.early_stopping == EARLY_STOPPING_NEVER


def test_scores_of_a_beam_search_are_in_the_summary() -> None:
    lane = Lane(GenerateRequest(model="m", num_beams=2, n=2))
    for response in (
        GenerateResponse(resolved=ResolvedAdapter(model="m@1")),
        GenerateResponse(finished=Finished(index=0, score=-0.25)),
        GenerateResponse(finished=Finished(index=1, score=-1.5)),
        GenerateResponse(usage=Usage()),
    ):
        lane.answer.add(response)
    assert summary(lane).endswith("scores  -0.2500  -1.5000")


def test_what_is_not_said_is_left_to_the_server(weft: Weft, state: State) -> None:
    weft("generate", "support", "x")
    [request] = requests_in(state)
    assert not request.sampling.ListFields()
    assert not request.stopping.ListFields()
    assert not request.HasField("logprobs")
    assert request.priority == PRIORITY_UNSPECIFIED


def test_several_models_answer_the_same_prompt(weft: Weft, state: State) -> None:
    ended = weft("generate", "base", "hi", "--vs", "support", "--vs", "sales@2")
    assert ended.out == "base:\nhi \n\nsupport:\nhi \n\nsales@2:\nhi \n\n"
    assert sorted(request.model for request in requests_in(state)) == ["base", "sales@2", "support"]


def test_json_is_a_line_per_message(weft: Weft) -> None:
    lines = weft("generate", "base", "hi", "--vs", "support", "--output", "json").documents
    for model in ("base", "support"):
        events = [next(iter(line.keys() - {"model"})) for line in lines if line["model"] == model]
        assert events == ["resolved", "chunk", "finished", "usage"]


def test_an_unknown_model_is_not_found(weft: Weft) -> None:
    ended = weft("generate", "nobody", "hi")
    assert (ended.code, ended.err) == (3, "weft: MODEL_NOT_FOUND: no model 'nobody'\n")


def test_one_failure_among_several_is_the_failure(weft: Weft) -> None:
    assert weft("generate", "endless", "hi", "--vs", "busy").code == 8


def test_a_text_prompt_has_no_system_message(weft: Weft) -> None:
    assert weft("generate", "m", "x", "--text", "--system", "y").code == 2


@pytest.mark.parametrize(
    "option",
    [
        ["--regex", "a", "--grammar", __file__],
        ["--logit-bias", "x"],
        ["--temperature", "3"],
        ["--top-p", "0"],
        ["--max-tokens", "0"],
        ["--logprobs", "21"],
        ["--num-beams", "9"],
        ["--early-stopping", "late"],
    ],
)
def test_a_value_out_of_range_is_a_usage_error(weft: Weft, option: list[str]) -> None:
    assert weft("generate", "m", "x", *option).code == 2


def test_side_by_side_has_a_column_per_model() -> None:
    table = side_by_side([Lane(GenerateRequest(model=name)) for name in ("base", "support")])
    assert len(table.columns) == 2
    assert table.row_count == 2
