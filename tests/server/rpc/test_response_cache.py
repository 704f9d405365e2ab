"""Answers are kept by all that decides them, within their room."""

from dataclasses import replace

import pytest
from msgspec import structs
from transformers import GenerationConfig

from weft.protos.v1.inference_pb2 import Chunk, GenerateRequest, GenerateResponse
from weft.protos.v1.inference_pb2 import Sampling as SamplingMessage
from weft.server.channel import Beams, EarlyStopping, Priority, Submit
from weft.server.rpc.requests import Defaults, Plan, read_generate
from weft.server.rpc.response_cache import ResponseCache

GREEDY = SamplingMessage(temperature=0)


def plan_of(sampling: SamplingMessage = GREEDY) -> Plan:
    request = GenerateRequest(model="m", text="x", sampling=sampling)
    return read_generate(request, Defaults.of(GenerationConfig()), vocab_size=100)


def submit(plan: Plan) -> Submit:
    return Submit(
        stream=3,
        digest="sha256:a",
        tokens=[1, 2],
        sampling=plan.sampling,
        max_tokens=4,
        stop_tokens=frozenset([7, 8, 9]),
        salt="acme",
        deadline=12.0,
    )


def answer(text: str) -> list[GenerateResponse]:
    return [GenerateResponse(chunk=Chunk(text=text))]


def key(cache: ResponseCache, plan: Plan, **changes: object) -> bytes:
    found = cache.key_of(plan, structs.replace(submit(plan), **changes))
    assert found is not None
    return found


def test_the_key_is_all_that_decides_an_answer_and_nothing_else() -> None:
    cache, plan = ResponseCache(1000), plan_of()
    same = key(cache, plan)
    for changes in ({"stream": 9}, {"deadline": None}, {"priority": Priority.HIGH}):
        assert key(cache, plan, **changes) == same
    others = [
        key(cache, plan, digest=None),
        key(cache, plan, digest="sha256:b"),
        key(cache, plan, salt="other"),
        key(cache, plan, tokens=[1, 3]),
        key(cache, plan, max_tokens=5),
        key(cache, plan, stop_tokens=frozenset([7])),
        key(cache, plan, grammar="{}"),
        key(cache, plan, min_tokens=1),
        key(cache, plan, logprobs=0),
        key(cache, plan, beams=Beams(2)),
        key(cache, plan, beams=Beams(2, length_penalty=0.5)),
        key(cache, plan, beams=Beams(2, early_stopping=EarlyStopping.NEVER)),
        key(cache, plan, sampling=structs.replace(plan.sampling, frequency_penalty=1.0)),
        key(cache, replace(plan, n=2)),
        key(cache, replace(plan, stop=("x",))),
        key(cache, replace(plan, include_stop=True)),
    ]
    assert len({same, *others}) == len(others) + 1


@pytest.mark.parametrize(
    ("sampling", "kept"),
    [
        (GREEDY, True),
        (SamplingMessage(temperature=1, seed=5), True),
        (SamplingMessage(temperature=1), False),
    ],
)
def test_only_requests_that_can_have_but_one_answer_are_kept(
    sampling: SamplingMessage, kept: bool
) -> None:
    plan = plan_of(sampling)
    assert (ResponseCache(1000).key_of(plan, submit(plan)) is not None) is kept
    assert ResponseCache(0).key_of(plan, submit(plan)) is None


def test_greedy_requests_share_an_answer_whatever_seed_was_drawn() -> None:
    cache = ResponseCache(1000)
    one, two = plan_of(), plan_of()
    assert one.sampling.seed != two.sampling.seed
    assert cache.key_of(one, submit(one)) == cache.key_of(two, submit(two))


def test_whose_last_use_is_longest_ago_goes_first() -> None:
    size = answer("x" * 10)[0].ByteSize()
    cache = ResponseCache(2 * size)
    for name in (b"a", b"b"):
        cache.keep(name, answer(name.decode() * 10))
    assert cache.find(b"a") is not None
    cache.keep(b"c", answer("c" * 10))
    assert cache.find(b"b") is None
    assert cache.find(b"a") == tuple(answer("a" * 10))
    assert cache.find(b"c") is not None
    cache.keep(b"d", answer("d" * 100))
    assert cache.find(b"d") is None
    assert cache.find(None) is None
