"""Requests: what is refused, and what is assumed."""

import pytest
from transformers import GenerationConfig

from weft.adapters.errors import Unsupported
from weft.protos.v1 import types_pb2
from weft.protos.v1.inference_pb2 import (
    ChatPrompt,
    Constraint,
    GenerateRequest,
    Sampling,
    Stopping,
    TokenizeRequest,
    TokenPrompt,
    WeightedAdapter,
)
from weft.server.channel import Priority
from weft.server.errors import RequestInvalid
from weft.server.rpc.requests import (
    Defaults,
    read_generate,
    read_tokenize,
)

NEUTRAL = Defaults.of(GenerationConfig(eos_token_id=7))
GOOD = GenerateRequest(model="support", text="hello")


def changed(**fields: object) -> GenerateRequest:
    request = GenerateRequest()
    request.CopyFrom(GOOD)
    request.MergeFrom(GenerateRequest(**fields))  # type: ignore[arg-type]
    return request


def fields_refused(request: GenerateRequest) -> set[str]:
    with pytest.raises(RequestInvalid) as caught:
        read_generate(request, NEUTRAL, vocab_size=100)
    return {violation.field for violation in caught.value.violations}


@pytest.mark.parametrize(
    ("request_", "name"),
    [
        (GenerateRequest(text="x"), "model"),
        (GenerateRequest(model="m"), "prompt"),
        (GenerateRequest(model="m", text=""), "text"),
        (GenerateRequest(model="m", chat=ChatPrompt()), "chat.messages"),
        (GenerateRequest(model="m", tokens=TokenPrompt()), "tokens.ids"),
        (GenerateRequest(model="m", tokens=TokenPrompt(ids=[1, 100])), "tokens.ids"),
        (changed(request_id="x" * 65), "request_id"),
        (changed(logprobs=21), "logprobs"),
        (changed(prompt_logprobs=21), "prompt_logprobs"),
        (changed(flush_ms=1001), "flush_ms"),
        (changed(priority=9), "priority"),
        (changed(stopping=Stopping(max_tokens=0)), "stopping.max_tokens"),
        (changed(stopping=Stopping(stop=["x"] * 17)), "stopping.stop"),
        (changed(stopping=Stopping(stop=[""])), "stopping.stop"),
        (changed(stopping=Stopping(stop_token_ids=range(17))), "stopping.stop_token_ids"),
        (changed(sampling=Sampling(temperature=2.1)), "sampling.temperature"),
        (changed(sampling=Sampling(temperature=-1)), "sampling.temperature"),
        (changed(sampling=Sampling(temperature=float("nan"))), "sampling.temperature"),
        (changed(sampling=Sampling(top_p=0)), "sampling.top_p"),
        (changed(sampling=Sampling(top_p=1.1)), "sampling.top_p"),
        (changed(sampling=Sampling(top_k=0)), "sampling.top_k"),
        (changed(sampling=Sampling(min_p=-0.1)), "sampling.min_p"),
        (changed(sampling=Sampling(presence_penalty=2.1)), "sampling.presence_penalty"),
        (changed(sampling=Sampling(frequency_penalty=-2.1)), "sampling.frequency_penalty"),
        (changed(sampling=Sampling(repetition_penalty=0)), "sampling.repetition_penalty"),
        (changed(sampling=Sampling(repetition_penalty=2.1)), "sampling.repetition_penalty"),
        (changed(sampling=Sampling(logit_bias={100: 1})), "sampling.logit_bias"),
        (changed(sampling=Sampling(logit_bias={1: 101})), "sampling.logit_bias"),
        (changed(sampling=Sampling(logit_bias={1: float("nan")})), "sampling.logit_bias"),
        (changed(stopping=Stopping(max_tokens=4, min_tokens=5)), "stopping.min_tokens"),
        (changed(n=0), "n"),
        (changed(n=9), "n"),
        (changed(num_beams=9), "num_beams"),
        (changed(constraint=Constraint()), "constraint"),
        (changed(constraint=Constraint(regex="(")), "constraint.regex"),
    ],
    ids=str,
)
def test_a_bad_value_is_refused_by_its_field(request_: GenerateRequest, name: str) -> None:
    assert fields_refused(request_) == {name}


def test_all_violations_come_together() -> None:
    request = GenerateRequest(sampling=Sampling(top_p=2, min_p=2), logprobs=99)
    assert fields_refused(request) == {
        "model",
        "prompt",
        "sampling.top_p",
        "sampling.min_p",
        "logprobs",
    }


def test_a_refusal_names_value_and_limit() -> None:
    with pytest.raises(RequestInvalid, match=r"sampling.temperature: 3.0 is not in \[0, 2\]"):
        read_generate(changed(sampling=Sampling(temperature=3)), NEUTRAL, vocab_size=100)


@pytest.mark.parametrize(
    ("request_", "name"),
    [
        (changed(adapters=[WeightedAdapter(model="x")]), "adapters"),
    ],
    ids=str,
)
def test_what_is_declared_and_not_served_is_refused_by_name(
    request_: GenerateRequest, name: str
) -> None:
    with pytest.raises(Unsupported) as caught:
        read_generate(request_, NEUTRAL, vocab_size=100)
    assert caught.value.metadata == {"field": name}


def test_neutral_values_of_unserved_fields_are_served() -> None:
    request = changed(n=1, num_beams=1, priority=types_pb2.PRIORITY_NORMAL)
    read_generate(request, NEUTRAL, vocab_size=100)


def test_penalties_and_biases_reach_the_plan() -> None:
    asked = Sampling(
        presence_penalty=-1, frequency_penalty=0.5, repetition_penalty=1.5, logit_bias={3: -100}
    )
    plan = read_generate(
        changed(sampling=asked, stopping=Stopping(min_tokens=9)), NEUTRAL, vocab_size=100
    )
    found = plan.sampling
    assert (found.presence_penalty, found.frequency_penalty) == (-1, 0.5)
    assert (found.repetition_penalty, found.logit_bias, plan.min_tokens) == (1.5, {3: -100}, 9)
    assert found.has_penalty
    assert not read_generate(GOOD, NEUTRAL, vocab_size=100).sampling.has_penalty


def test_every_completion_has_a_seed_of_its_own() -> None:
    plan = read_generate(changed(n=3, sampling=Sampling(seed=2**64 - 2)), NEUTRAL, vocab_size=100)
    seeds = [plan.sampling_of(index).seed for index in range(plan.n)]
    assert seeds == [2**64 - 2, 2**64 - 1, 0]


def test_more_biases_than_the_limit_are_refused() -> None:
    biases = Sampling(logit_bias=dict.fromkeys(range(301), 1.0))
    with pytest.raises(RequestInvalid, match="301 is not at most 300 tokens"):
        read_generate(changed(sampling=biases), NEUTRAL, vocab_size=1000)


def test_absent_fields_are_the_bases_generation_config_else_neutral() -> None:
    plan = read_generate(GOOD, NEUTRAL, vocab_size=100)
    assert (plan.sampling.temperature, plan.sampling.top_k, plan.sampling.top_p) == (1.0, None, 1.0)
    config = GenerationConfig(
        do_sample=True,
        temperature=0.6,
        top_p=0.9,
        top_k=20,
        repetition_penalty=1.05,
        eos_token_id=[1, 2],
    )
    plan = read_generate(GOOD, Defaults.of(config), vocab_size=100)
    assert (plan.sampling.temperature, plan.sampling.top_k, plan.sampling.top_p) == (0.6, 20, 0.9)
    assert plan.sampling.repetition_penalty == 1.05
    assert plan.stop_tokens == {1, 2}
    greedy = GenerationConfig(do_sample=False)
    assert read_generate(GOOD, Defaults.of(greedy), vocab_size=100).sampling.temperature == 0


@pytest.mark.parametrize(
    ("asked", "served"),
    [
        (types_pb2.PRIORITY_UNSPECIFIED, Priority.NORMAL),
        (types_pb2.PRIORITY_NORMAL, Priority.NORMAL),
        (types_pb2.PRIORITY_HIGH, Priority.HIGH),
        (types_pb2.PRIORITY_LOW, Priority.LOW),
    ],
)
def test_priority_reaches_the_plan(asked: types_pb2.Priority, served: Priority) -> None:
    assert read_generate(changed(priority=asked), NEUTRAL, vocab_size=100).priority is served


def test_seed_and_request_id_are_made_when_absent_and_kept_when_given() -> None:
    plans = [read_generate(GOOD, NEUTRAL, vocab_size=100) for _ in range(2)]
    assert plans[0].sampling.seed != plans[1].sampling.seed
    assert plans[0].request_id != plans[1].request_id
    given = changed(request_id="r1", sampling=Sampling(seed=0))
    plan = read_generate(given, NEUTRAL, vocab_size=100)
    assert (plan.request_id, plan.sampling.seed) == ("r1", 0)


def test_end_token_is_ignored_when_asked() -> None:
    stopping = Stopping(ignore_end_token=True, stop_token_ids=[3])
    assert read_generate(changed(stopping=stopping), NEUTRAL, vocab_size=100).stop_tokens == {3}
    assert read_generate(GOOD, NEUTRAL, vocab_size=100).stop_tokens == {7}


@pytest.mark.parametrize("request_", [TokenizeRequest(model="m"), TokenizeRequest(text="x")])
def test_tokenize_needs_model_and_prompt(request_: TokenizeRequest) -> None:
    with pytest.raises(RequestInvalid):
        read_tokenize(request_)
