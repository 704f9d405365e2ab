"""Forms of a completion, checked before anything runs."""

import json

import llguidance.hf
import pytest
from llguidance import LLMatcher

from tests.tiny import tiny_tokenizer
from weft.protos.v1.inference_pb2 import Constraint
from weft.server.rpc.constraints import MAX_FORM_BYTES, read_constraint
from weft.server.rpc.fields import Findings

TOKENIZER = llguidance.hf.from_tokenizer(tiny_tokenizer())
SCHEMA = {"type": "object", "properties": {"order": {"type": "integer"}}, "required": ["order"]}


@pytest.mark.parametrize(
    "form",
    [
        Constraint(regex="(yes|no)"),
        Constraint(json_schema=json.dumps(SCHEMA)),
        Constraint(grammar='start: "a"+ | number\nnumber: /[0-9]+/'),
    ],
    ids=str,
)
def test_a_form_becomes_a_grammar(form: Constraint) -> None:
    findings = Findings()
    grammar = read_constraint(form, findings)
    assert not findings.found
    assert not LLMatcher(TOKENIZER, grammar).is_error()


@pytest.mark.parametrize(
    ("form", "field", "said"),
    [
        (Constraint(), "constraint", "None is not regex, json_schema or grammar"),
        (Constraint(regex="(ab"), "constraint.regex", "unclosed group"),
        (Constraint(json_schema="{"), "constraint.json_schema", "'{' is not"),
        (Constraint(json_schema='{"type": "odd"}'), "constraint.json_schema", "odd"),
        (Constraint(grammar="start: nothing"), "constraint.grammar", "unknown name"),
        (Constraint(regex="x" * (MAX_FORM_BYTES + 1)), "constraint.regex", "at most 262144 bytes"),
    ],
)
def test_what_is_no_form_is_refused_with_the_reason(
    form: Constraint, field: str, said: str
) -> None:
    findings = Findings()
    read_constraint(form, findings)
    [violation] = findings.found
    assert violation.field == field
    assert said in violation.description
