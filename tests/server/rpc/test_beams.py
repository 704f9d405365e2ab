"""What a request may say of beams."""

import pytest
from transformers import GenerationConfig

from weft.adapters.errors import Unsupported
from weft.protos.v1.inference_pb2 import (
    EARLY_STOPPING_FIRST,
    EARLY_STOPPING_NEVER,
    Constraint,
    GenerateRequest,
    Sampling,
    Stopping,
)
from weft.server.channel import Beams, EarlyStopping
from weft.server.errors import RequestInvalid
from weft.server.rpc.requests import Defaults, Plan, read_generate

WARM = Defaults.of(GenerationConfig(temperature=0.7))


def read(**fields: object) -> Plan:
    request = GenerateRequest(model="m", text="x", **fields)  # type: ignore[arg-type]
    return read_generate(request, WARM, vocab_size=100)


def test_beams_draw_nothing_whatever_the_base_says() -> None:
    plan = read(num_beams=4, n=2, length_penalty=0.0, early_stopping=EARLY_STOPPING_FIRST)
    assert plan.beams == Beams(4, 2, 0.0, EarlyStopping.FIRST)
    assert (plan.n, plan.sampling.temperature, plan.is_deterministic) == (2, 0.0, True)


def test_what_is_not_said_is_the_default_of_transformers() -> None:
    found = read(num_beams=3, sampling=Sampling(temperature=0)).beams
    expected = GenerationConfig(num_beams=3)
    assert found == Beams(3, 1, 1.0, EarlyStopping.HEURISTIC)
    assert (expected.length_penalty or 1.0, expected.early_stopping or False) == (1.0, False)


def test_one_beam_is_no_search() -> None:
    plan = read(num_beams=1)
    assert plan.beams is None
    assert plan.sampling.temperature == 0.7


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"num_beams": 0}, "num_beams"),
        ({"num_beams": 9}, "num_beams"),
        ({"num_beams": 2, "n": 3}, "n"),
        ({"num_beams": 2, "sampling": Sampling(temperature=0.5)}, "sampling.temperature"),
        ({"num_beams": 2, "length_penalty": 10.5}, "length_penalty"),
        ({"num_beams": 2, "length_penalty": float("nan")}, "length_penalty"),
        ({"num_beams": 2, "early_stopping": 9}, "early_stopping"),
        ({"length_penalty": 1.0}, "length_penalty"),
        ({"early_stopping": EARLY_STOPPING_NEVER, "num_beams": 1}, "early_stopping"),
    ],
    ids=str,
)
def test_a_bad_value_is_refused_by_its_field(fields: dict[str, object], name: str) -> None:
    with pytest.raises(RequestInvalid) as caught:
        read(**fields)
    assert [violation.field for violation in caught.value.violations] == [name]


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"constraint": Constraint(regex="a")}, "constraint"),
        ({"logprobs": 0}, "logprobs"),
        ({"stopping": Stopping(stop=["x"])}, "stopping.stop"),
    ],
    ids=str,
)
def test_what_is_not_served_beside_beams_is_refused_by_name(
    fields: dict[str, object], name: str
) -> None:
    read(**fields)
    with pytest.raises(Unsupported) as caught:
        read(num_beams=2, **fields)
    assert caught.value.metadata == {"field": name}
