"""Conversations: each finding as a small list of turns."""

import pytest

from weft.adapters.conversation import check_messages
from weft.adapters.findings import Severity

USER = {"role": "user", "content": "a?"}
ANSWER = {"role": "assistant", "content": "b"}
CALL: dict[str, object] = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "c1", "function": {"name": "find", "arguments": '{"order": 1}'}}],
}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "found"}
FIND = {
    "type": "function",
    "function": {
        "name": "find",
        "parameters": {
            "type": "object",
            "properties": {"order": {"type": "integer"}},
            "required": ["order"],
            "additionalProperties": False,
        },
    },
}


def call_with(arguments: object) -> dict[str, object]:
    function = {"name": "find", "arguments": arguments}
    return CALL | {"tool_calls": [{"id": "c1", "function": function}]}


def find(messages: object, tools: object = None) -> list[tuple[str, str]]:
    """Code and path of everything that is found."""
    return [(p.code, p.path) for p in check_messages(messages, tools).problems]


@pytest.mark.parametrize(
    "messages",
    [
        [USER, ANSWER],
        [{"role": "system", "content": "s"}, USER, ANSWER, USER, ANSWER],
        [USER, CALL, RESULT, ANSWER],
        [USER, CALL],
        [USER, ANSWER | {"weight": 0}, USER, ANSWER | {"weight": 1}],
        [ANSWER | {"weight": 0}, USER, ANSWER | {"name": "x", "reasoning_content": "r"}],
    ],
)
def test_sound_conversation_has_no_findings(messages: list[dict[str, object]]) -> None:
    checked = check_messages(messages, [FIND])
    assert checked.problems == ()
    assert checked.messages is not None
    assert [m.role for m in checked.messages] == [m["role"] for m in messages]
    assert [m.weight for m in checked.messages] == [m.get("weight", 1) for m in messages]
    assert all("weight" not in m.fields for m in checked.messages)


@pytest.mark.parametrize(
    ("messages", "found"),
    [
        ("hello", [("F103", "/messages")]),
        ([], [("F103", "/messages")]),
        (["x"], [("F103", "/messages/0")]),
        ([USER, {"role": "bot", "content": "b"}], [("C201", "/messages/1/role")]),
        ([{"role": ["user"], "content": "b"}], [("C201", "/messages/0/role")]),
        ([USER | {"content": ["x"]}, ANSWER], [("F103", "/messages/0/content")]),
        (
            [USER, ANSWER, {"role": "system", "content": "s"}, USER, ANSWER],
            [("C202", "/messages/2")],
        ),
        ([USER], [("C203", "/messages")]),
        ([USER, ANSWER | {"weight": 0}], [("C203", "/messages")]),
        ([USER, {"role": "assistant", "content": ""}], [("C204", "/messages/1")]),
        ([USER, {"role": "assistant"}], [("C204", "/messages/1")]),
        ([USER, RESULT, ANSWER], [("C205", "/messages/1/tool_call_id")]),
        ([USER, CALL, RESULT, RESULT, ANSWER], [("C205", "/messages/3/tool_call_id")]),
        ([USER, CALL, USER, ANSWER], [("C205", "/messages/1/tool_calls/0")]),
        ([USER, call_with("{"), RESULT, ANSWER], [("C206", "/messages/1/tool_calls/0")]),
        ([USER, call_with("[1]"), RESULT, ANSWER], [("C206", "/messages/1/tool_calls/0")]),
        ([USER, call_with({}), RESULT, ANSWER], [("C206", "/messages/1/tool_calls/0")]),
        (
            [USER, call_with({"order": 1, "x": 2}), RESULT, ANSWER],
            [("C206", "/messages/1/tool_calls/0")],
        ),
        ([USER | {"weight": 1}, ANSWER], [("C207", "/messages/0/weight")]),
        ([USER, ANSWER | {"weight": 2}], [("C207", "/messages/1/weight")]),
        ([USER, ANSWER | {"weight": True}], [("C207", "/messages/1/weight")]),
        ([USER, USER, ANSWER], [("C208", "/messages/1")]),
        ([USER, ANSWER, USER], [("C209", "/messages/2")]),
        ([USER | {"xyz": 1}, ANSWER], [("F108", "/messages/0/xyz")]),
    ],
)
def test_unsound_conversation_is_found(messages: object, found: list[tuple[str, str]]) -> None:
    assert find(messages, [FIND]) == found


def test_warnings_do_not_stop_a_job() -> None:
    problems = check_messages([USER, USER, ANSWER, USER | {"xyz": 1}], None).problems
    assert {p.code: p.severity for p in problems} == dict.fromkeys(
        ("C208", "C209", "F108"), Severity.WARNING
    )


def test_every_problem_is_reported() -> None:
    messages = [USER | {"weight": 1}, {"role": "assistant", "content": ""}, ANSWER, RESULT]
    assert {code for code, _ in find(messages)} == {"C204", "C205", "C207", "C208", "C209"}


def test_tools_that_are_no_objects_are_found() -> None:
    assert find([USER, ANSWER], "find") == [("F103", "/tools")]
    assert find([USER, ANSWER], [1]) == [("F103", "/tools")]


def test_arguments_without_a_declared_schema_need_only_be_an_object() -> None:
    assert find([USER, call_with({"any": 1}), RESULT, ANSWER]) == []
    assert find([USER, call_with(None), RESULT, ANSWER]) == [("C206", "/messages/1/tool_calls/0")]
