"""Generate, Tokenize and the models, over gRPC against the running server."""

import itertools
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from weft.client import Answer, Client, Constraint, Sampling, Stopping, WeftError, user
from weft.protos.v1 import inference_pb2, inference_pb2_grpc, types_pb2
from weft.protos.v1.inference_pb2 import ChatPrompt, TokenPrompt
from weft.server.child import Server

from .calls import (
    GREEDY,
    PROMPT,
    Figures,
    await_figures,
    events,
    figure,
    generate_request,
    read_figures,
    refusal,
)

FUTURE = "9999999999999-0"


def answer_of(weft: Client, request: inference_pb2.GenerateRequest) -> Answer:
    answer = Answer()
    for event in events(weft, request):
        answer.add(event)
    return answer


def text_of(weft: Client, **fields: object) -> str:
    return answer_of(weft, generate_request(**fields)).text  # type: ignore[arg-type]


def test_events_come_in_order_and_agree(weft: Client, version: types_pb2.Version) -> None:
    model = f"{version.adapter}:prod"
    found = events(weft, generate_request(model, max_tokens=6, request_id="r1"))
    kinds = [event.WhichOneof("event") for event in found]
    assert kinds[0] == "resolved"
    assert set(kinds[1:-2]) == {"chunk"}
    assert kinds[-2:] == ["finished", "usage"]
    resolved, finished, usage = found[0].resolved, found[-2].finished, found[-1].usage
    assert (resolved.model, resolved.version) == (f"{version.adapter}@1", 1)
    assert (resolved.digest, resolved.base_digest) == (version.digest, version.base_digest)
    assert (resolved.base, resolved.request_id) == ("base", "r1")
    assert resolved.precision == weft.model(model).precision == "float32+int8"
    assert version.probe.precision == "float32+int8"
    assert finished.reason == inference_pb2.FINISH_REASON_LENGTH
    assert finished.generated_tokens == usage.generated_tokens == 6
    assert usage.prompt_tokens == len(weft.tokenize("base", text=PROMPT).token_ids)
    assert usage.prefill_ms > 0
    assert usage.decode_ms > 0


def test_text_tokens_and_chat_that_say_the_same_get_the_same_answer(weft: Client) -> None:
    rendered = weft.tokenize("base", chat=[user("hello")])
    chat = generate_request(chat=ChatPrompt(messages=[user("hello")]))
    tokens = generate_request(tokens=TokenPrompt(ids=rendered.token_ids))
    tokens.priority = types_pb2.PRIORITY_HIGH
    texts = {answer_of(weft, request).text for request in (chat, tokens)}
    assert texts == {text_of(weft, text=rendered.text)}


def test_every_reference_to_a_version_gets_its_answer(
    weft: Client, version: types_pb2.Version
) -> None:
    name = version.adapter
    references = [name, f"{name}:latest", f"{name}:prod", f"{name}@1", version.digest]
    answers = [answer_of(weft, generate_request(model)) for model in references]
    assert len({answer.text for answer in answers}) == 1
    assert answers[0].text != text_of(weft)
    assert {answer.resolved.digest for answer in answers if answer.resolved} == {version.digest}


def test_first_use_tells_the_tier_that_the_adapter_came_from(
    weft: Client, name: str, folders: list[Path]
) -> None:
    weft.publish(name, folders[1], assert_base=True)
    tiers = [answer_of(weft, generate_request(name)).usage for _ in range(2)]
    assert tiers[1] is not None
    assert tiers[1].tier == types_pb2.TIER_GPU


def test_logprobs_have_the_chosen_token_and_as_many_alternatives_as_asked(weft: Client) -> None:
    answer = answer_of(weft, generate_request(logprobs=3))
    completion = answer.completions[0]
    assert len(completion.logprobs) == len(completion.token_ids) == 8
    for token, found in zip(completion.token_ids, completion.logprobs, strict=True):
        values = [alternative.logprob for alternative in found.alternatives]
        assert len(values) == 3
        assert values == sorted(values, reverse=True)
        assert (found.chosen.token_id, found.chosen.logprob) == (token, values[0])
        assert values[0] < 0
    chosen = b"".join(found.chosen.token for found in completion.logprobs)
    assert chosen.decode(errors="replace") == completion.text


def test_prompt_logprobs_have_every_token_of_the_prompt_but_the_first(
    weft: Client, version: types_pb2.Version
) -> None:
    ids = weft.tokenize("base", text=PROMPT * 4).token_ids
    for n in (1, 2):  # the second time the prompt is in the prefix cache
        answer = weft.complete(
            f"{version.adapter}:prod",
            tokens=ids,
            n=n,
            prompt_logprobs=2,
            stopping=Stopping(max_tokens=2),
        )
        found = answer.completions[0].prompt_logprobs
        assert [entry.chosen.token_id for entry in found] == list(ids[1:])
        assert {len(entry.alternatives) for entry in found} == {2}
        assert not any(c.prompt_logprobs for i, c in answer.completions.items() if i)


def test_beams_answer_their_best_hypotheses_with_scores(
    weft: Client, version: types_pb2.Version
) -> None:
    model = f"{version.adapter}:prod"
    request = generate_request(model, num_beams=4, n=3, length_penalty=0.5, prompt_logprobs=0)
    found = events(weft, request)
    kinds = [kind for kind, _ in itertools.groupby(found, lambda event: event.WhichOneof("event"))]
    assert kinds == ["resolved", *["chunk", "finished"] * 3, "usage"]
    answer = answer_of(weft, request)
    completions = [answer.completions[index] for index in range(3)]
    assert len({completion.text for completion in completions}) == 3
    ends = [completion.finished for completion in completions if completion.finished]
    scores = [end.score for end in ends]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] < 0
    assert answer.usage is not None
    assert answer.usage.generated_tokens == sum(len(c.token_ids) for c in completions)
    assert len(completions[0].prompt_logprobs) == answer.usage.prompt_tokens - 1
    best = answer_of(weft, generate_request(model, num_beams=4, length_penalty=0.5))
    assert (best.text, len(best.completions)) == (completions[0].text, 1)


def test_without_logprobs_there_are_none(weft: Client) -> None:
    assert not answer_of(weft, generate_request()).completions[0].logprobs


@pytest.mark.parametrize("include", [False, True])
def test_a_stop_string_ends_the_text_and_the_usage_is_whole(weft: Client, include: bool) -> None:
    whole = text_of(weft, max_tokens=40)
    stop = whole[5:8]
    stopping = Stopping(max_tokens=40, stop=["never this", stop], include_stop=include)
    answer = answer_of(weft, generate_request(stopping=stopping))
    before = whole[: whole.index(stop)]
    assert answer.text == (before + stop if include else before)
    finished, usage = answer.completions[0].finished, answer.usage
    assert finished is not None
    assert finished.reason == inference_pb2.FINISH_REASON_STOP_STRING
    assert finished.stop == stop
    assert usage is not None
    assert usage.prompt_tokens > 0
    assert usage.prefill_ms > 0
    assert usage.generated_tokens == len(answer.completions[0].token_ids) < 40


@pytest.mark.parametrize("include", [False, True])
def test_a_stop_token_ends_the_answer(weft: Client, include: bool) -> None:
    tokens = list(answer_of(weft, generate_request()).completions[0].token_ids)
    stop = next(token for token in tokens[2:] if token not in tokens[:2])
    stopping = Stopping(max_tokens=8, stop_token_ids=[stop], include_stop=include)
    completion = answer_of(weft, generate_request(stopping=stopping)).completions[0]
    at = tokens.index(stop)
    assert completion.token_ids == tokens[: at + 1]
    assert completion.finished is not None
    assert completion.finished.reason == inference_pb2.FINISH_REASON_STOP
    assert completion.finished.stop_token_id == stop
    kept = text_of(weft, max_tokens=at + 1) if include else text_of(weft, max_tokens=at)
    assert completion.text == kept


@pytest.fixture(scope="module")
def talkative(server: Server) -> tuple[Sampling, list[int]]:
    """Sampling under which the base draws its end token early, and what it goes on to draw."""
    stopping = Stopping(max_tokens=100, ignore_end_token=True)
    with Client(server.address) as weft:
        end = weft.tokenize("base", chat=[user("")]).token_ids[-2]
        for seed in itertools.count():
            sampling = Sampling(temperature=2, seed=seed)
            tokens = (
                weft.complete("base", text=PROMPT, sampling=sampling, stopping=stopping)
                .completions[0]
                .token_ids
            )
            if end in tokens[1:-1]:
                return sampling, tokens[: tokens.index(end) + 1]
    raise AssertionError


@pytest.mark.parametrize("include", [False, True])
def test_the_end_token_ends_the_answer_unless_it_is_ignored(
    weft: Client, talkative: tuple[Sampling, list[int]], include: bool
) -> None:
    sampling, tokens = talkative
    stopping = Stopping(max_tokens=100, include_stop=include)
    completion = answer_of(
        weft, generate_request(sampling=sampling, stopping=stopping)
    ).completions[0]
    assert completion.token_ids == tokens
    assert completion.finished is not None
    assert completion.finished.stop_token_id == tokens[-1]
    assert completion.text.endswith("<|end|>") == include


def test_an_answer_has_the_form_that_was_asked_for(
    weft: Client, version: types_pb2.Version
) -> None:
    constraint = Constraint(regex="(left|right), [0-9]{3}")
    answer = weft.complete(
        f"{version.adapter}:prod", text=PROMPT, constraint=constraint, sampling=Sampling(seed=1)
    )
    assert re.fullmatch(constraint.regex, answer.text)
    finished = answer.completions[0].finished
    assert finished is not None
    assert finished.reason == inference_pb2.FINISH_REASON_STOP
    assert not finished.HasField("stop_token_id")


def test_n_completions_of_one_prompt_that_is_computed_once(
    weft: Client, version: types_pb2.Version
) -> None:
    model, sampling = f"{version.adapter}:prod", Sampling(temperature=1.5, seed=7)
    stopping = Stopping(max_tokens=6)
    text = PROMPT * 6
    answer = weft.complete(model, text=text, n=3, sampling=sampling, stopping=stopping)
    assert sorted(answer.completions) == [0, 1, 2]
    assert answer.usage is not None
    assert answer.usage.generated_tokens == sum(
        len(completion.token_ids) for completion in answer.completions.values()
    )
    sampling.seed = 8
    second = weft.complete(model, text=text, sampling=sampling, stopping=stopping)
    assert second.completions[0].token_ids == answer.completions[1].token_ids
    assert second.usage is not None
    assert second.usage.prompt_tokens == answer.usage.prompt_tokens


def test_a_seed_repeats_an_answer_alone_and_in_a_batch(server: Server, weft: Client) -> None:
    request = generate_request(sampling=Sampling(temperature=1, seed=11), max_tokens=24)
    alone = answer_of(weft, request).completions[0].token_ids
    others = [
        threading.Thread(target=text_of, args=(weft,), kwargs={"max_tokens": 60, "text": text})
        for text in ("the lazy dog", "order 1234", "a")
    ]
    for other in others:
        other.start()
    beside = answer_of(weft, request).completions[0].token_ids
    for other in others:
        other.join()
    assert beside == alone


def test_a_seed_that_was_drawn_repeats_the_answer(weft: Client) -> None:
    first = answer_of(weft, generate_request(sampling=Sampling(temperature=1), max_tokens=24))
    assert first.resolved is not None
    again = Sampling(temperature=1, seed=first.resolved.seed)
    assert text_of(weft, sampling=again, max_tokens=24) == first.text


def test_tokens_are_gathered_for_as_long_as_asked(weft: Client) -> None:
    def num_chunks(flush_ms: int) -> int:
        found = events(weft, generate_request(max_tokens=40, flush_ms=flush_ms))
        return sum(event.HasField("chunk") for event in found)

    assert num_chunks(1000) <= 3 < num_chunks(0)


def is_idle(figures: Figures) -> bool:
    return (
        figure(figures, "weft_running_sequences") == 0
        and figure(figures, "weft_kv_blocks", state="used") == 0
    )


LONG = Stopping(max_tokens=480, ignore_end_token=True)


def test_a_cancelled_stream_frees_its_blocks_and_slot(
    server: Server, weft: Client, version: types_pb2.Version
) -> None:
    await_figures(server, is_idle)
    cancelled = figure(read_figures(server), "weft_requests_total", reason="CANCELLED")
    request = generate_request(version.adapter, stopping=LONG, flush_ms=0, logprobs=20)
    stream = weft.stream(request, inference_pb2.GenerateResponse)
    for _ in range(3):
        next(stream)
    stream.close()
    figures = await_figures(
        server,
        lambda figures: (
            figure(figures, "weft_requests_total", reason="CANCELLED") == cancelled + 1
            and is_idle(figures)
        ),
    )
    generated = figure(figures, "weft_tokens_total", model=version.adapter, kind="generated")
    assert 0 < generated < 480
    with pytest.raises(WeftError, match="alias"):  # nothing else holds it
        weft.retire(f"{version.adapter}@1")


def test_a_passed_deadline_ends_the_stream_and_frees_its_blocks(server: Server) -> None:
    with Client(server.address, timeout_s=0.3) as hurried, refusal("DEADLINE_EXCEEDED"):
        events(hurried, generate_request(stopping=LONG, flush_ms=0))
    await_figures(server, is_idle)


def test_the_digest_is_in_the_initial_metadata(server: Server, version: types_pb2.Version) -> None:
    with grpc.insecure_channel(server.address) as channel:
        call = inference_pb2_grpc.InferenceServiceStub(channel).Generate(
            generate_request(version.adapter, max_tokens=1)
        )
        assert ("x-weft-digest", version.digest) in call.initial_metadata()
        list(call)


@pytest.fixture
def stub(server: Server) -> Iterator[inference_pb2_grpc.InferenceServiceStub]:
    with grpc.insecure_channel(server.address) as channel:
        yield inference_pb2_grpc.InferenceServiceStub(channel)


def test_a_callers_event_is_waited_for(
    stub: inference_pb2_grpc.InferenceServiceStub, weft: Client, version: types_pb2.Version
) -> None:
    seen = weft.complete("base", text="x", stopping=Stopping(max_tokens=1)).resolved
    assert seen is not None
    request = inference_pb2.GetModelRequest(model=version.adapter)
    stub.GetModel(request, metadata=[("x-weft-after", seen.event_id)], timeout=5)
    with pytest.raises(grpc.RpcError) as caught:
        stub.GetModel(request, metadata=[("x-weft-after", FUTURE)], timeout=0.3)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    with pytest.raises(grpc.RpcError) as caught:
        stub.GetModel(request, metadata=[("x-weft-after", "yesterday")], timeout=5)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_prompt_longer_than_the_context_is_refused_with_both_figures(weft: Client) -> None:
    with refusal("PROMPT_TOO_LONG") as caught:
        text_of(weft, tokens=TokenPrompt(ids=[1] * 505), max_tokens=8)
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.metadata == {
        "prompt_tokens": "505",
        "max_tokens": "8",
        "max_context": "512",
        "violations_total": "1",
    }


def test_without_max_tokens_the_context_is_the_limit(weft: Client) -> None:
    stopping = Stopping(ignore_end_token=True)
    request = generate_request(tokens=TokenPrompt(ids=[1] * 500), stopping=stopping)
    assert len(answer_of(weft, request).completions[0].token_ids) == 12


@pytest.mark.parametrize(
    "model", ["nobody", "nobody:prod", "nobody@1", "No Body", f"sha256:{0:064}"]
)
def test_an_unknown_model_is_not_found_and_never_the_base(weft: Client, model: str) -> None:
    with refusal("MODEL_NOT_FOUND") as caught:
        text_of(weft, model=model)
    assert caught.value.code is grpc.StatusCode.NOT_FOUND
    with refusal("MODEL_NOT_FOUND"):
        weft.model(model)
    with refusal("MODEL_NOT_FOUND"):
        weft.tokenize(model, text="x")


def test_an_empty_model_is_refused(weft: Client) -> None:
    with refusal("REQUEST_INVALID") as caught:
        text_of(weft, model="")
    assert [violation.field for violation in caught.value.violations] == ["model"]
    with refusal("MODEL_NOT_FOUND"):
        weft.model("")


def test_every_violation_of_a_request_comes_back(weft: Client) -> None:
    bad = Sampling(temperature=3, top_p=0)
    with refusal("REQUEST_INVALID") as caught:
        text_of(weft, sampling=bad, logprobs=21, flush_ms=2000)
    assert {violation.field for violation in caught.value.violations} == {
        "sampling.temperature",
        "sampling.top_p",
        "logprobs",
        "flush_ms",
    }
    assert caught.value.metadata["violations_total"] == "4"


def test_what_is_not_served_is_refused_by_name(weft: Client) -> None:
    with refusal("FEATURE_UNSUPPORTED") as caught:
        text_of(weft, num_beams=2, logprobs=1)
    assert caught.value.metadata == {"field": "logprobs"}
    assert caught.value.code is grpc.StatusCode.UNIMPLEMENTED


def test_an_argument_cannot_replace_the_template(weft: Client) -> None:
    chat = ChatPrompt(messages=[user("hello")])
    chat.template_arguments.update({"chat_template": "{{ 1 }}"})
    with refusal("TEMPLATE_FAILED"):
        answer_of(weft, generate_request(chat=chat))


def test_tokenize_shows_tokens_bytes_and_text(weft: Client, version: types_pb2.Version) -> None:
    found = weft.tokenize(version.adapter, text=PROMPT)
    assert b"".join(found.tokens).decode() == found.text == PROMPT
    assert len(found.tokens) == len(found.token_ids)
    assert (found.resolved.digest, found.max_context) == (version.digest, 512)
    chat = weft.tokenize("base", chat=[user("hello")])
    assert chat.text == "<|user|>hello<|end|><|assistant|>"


def test_a_model_is_described_by_every_reference(weft: Client, version: types_pb2.Version) -> None:
    found = weft.model(f"{version.adapter}:prod")
    assert found.model == f"{version.adapter}@1"
    assert found.kind == inference_pb2.MODEL_KIND_ADAPTER
    assert (found.digest, found.state) == (version.digest, types_pb2.VERSION_STATE_PUBLISHED)
    base = weft.model("base")
    assert (base.model, base.kind) == ("base", inference_pb2.MODEL_KIND_BASE)
    assert base.digest == found.base_digest


def pages(weft: Client, *, size: int, all_versions: bool) -> list[str]:
    """Model names, page by page."""
    request = inference_pb2.ListModelsRequest(page_size=size, all_versions=all_versions)
    found = []
    while True:
        page = weft.call(request, inference_pb2.ListModelsResponse)
        assert len(page.models) <= size
        found += [model.model for model in page.models]
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_pages_of_models_miss_and_repeat_nothing(
    weft: Client, name: str, folders: list[Path], size: int
) -> None:
    for _ in range(2):
        weft.publish(name, folders[0], assert_base=True)
    weft.publish(f"{name}-b", folders[0], assert_base=True)
    latest = pages(weft, size=size, all_versions=False)
    every = pages(weft, size=size, all_versions=True)
    assert latest[0] == every[0] == "base"
    assert len(set(every)) == len(every)
    assert [model for model in every if name in model] == [
        f"{name}@1",
        f"{name}@2",
        f"{name}-b@1",
    ]
    assert [model for model in latest if name in model] == [f"{name}@2", f"{name}-b@1"]


def test_a_page_token_of_something_else_is_refused(weft: Client) -> None:
    request = inference_pb2.ListModelsRequest(page_token="x y")
    with refusal("REQUEST_INVALID"):
        weft.call(request, inference_pb2.ListModelsResponse)


def test_greedy_is_the_default_sampling_of_nobody(weft: Client) -> None:
    request = generate_request(sampling=Sampling(), max_tokens=24)
    assert len({answer_of(weft, request).text for _ in range(3)}) > 1
    assert text_of(weft, sampling=GREEDY) == text_of(weft, sampling=GREEDY)
