"""Conversations of a data set: their messages, typed, and the findings C201-C209."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from .findings import Severity

ROLES = ("system", "developer", "user", "assistant", "tool")
TEXT_KEYS = ("content", "tool_call_id", "name", "reasoning_content")
MESSAGE_KEYS = frozenset({"role", "tool_calls", "weight", *TEXT_KEYS})


@dataclass(frozen=True, slots=True)
class Message:
    """One turn.

    Attributes:
        weight: 0 leaves an assistant turn out of the loss.
        fields: What the template is given, `weight` left out.
    """

    role: str
    content: str | None
    weight: int
    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Problem:
    """A finding that does not know its line yet."""

    code: str
    message: str
    suggestion: str
    path: str
    severity: Severity = Severity.ERROR


@dataclass(frozen=True, slots=True)
class Conversation:
    """The typed turns, None when the value is none, and what was found."""

    messages: tuple[Message, ...] | None
    tools: tuple[Mapping[str, object], ...]
    problems: tuple[Problem, ...]


def check_messages(value: object, tools: object) -> Conversation:
    """Type the messages and tools of a row; every problem is reported."""
    if not isinstance(value, list) or not value:
        problem = Problem(
            "F103", "messages is not a list of turns", "write a list of objects", "/messages"
        )
        return Conversation(None, (), (problem,))
    problems: list[Problem] = []
    declared = read_tools(tools, problems)
    messages = [
        message
        for i, turn in enumerate(value)
        if (message := read_message(turn, f"/messages/{i}", problems)) is not None
    ]
    if len(messages) < len(value):
        return Conversation(None, declared, tuple(problems))
    check_order(messages, problems)
    check_tool_ids(messages, problems)
    check_arguments(messages, declared, problems)
    return Conversation(tuple(messages), declared, tuple(problems))


def read_tools(value: object, problems: list[Problem]) -> tuple[Mapping[str, object], ...]:
    """Type the declared tools."""
    if value is None:
        return ()
    if isinstance(value, list) and all(isinstance(tool, dict) for tool in value):
        return tuple(value)
    problems.append(
        Problem("F103", "tools is not a list of objects", "write a list of objects", "/tools")
    )
    return ()


def read_message(turn: object, path: str, problems: list[Problem]) -> Message | None:
    """Type one turn; None when it has no role or a value of another type."""
    if not isinstance(turn, dict):
        problems.append(Problem("F103", "turn is not an object", "write an object", path))
        return None
    role = turn.get("role")
    if role not in ROLES:
        message = f"role {role!r} is not one of {', '.join(ROLES)}"
        problems.append(Problem("C201", message, "use one of these", f"{path}/role"))
        return None
    wrong = [key for key in TEXT_KEYS if not isinstance(turn.get(key), str | None)]
    if wrong:
        problems.extend(
            Problem("F103", f"{key} is not a text", "write a text", f"{path}/{key}")
            for key in wrong
        )
        return None
    problems.extend(
        Problem("F108", f"unknown key {key!r}", "remove it", f"{path}/{key}", Severity.WARNING)
        for key in turn
        if key not in MESSAGE_KEYS
    )
    fields = {key: turn[key] for key in turn if key in MESSAGE_KEYS and key != "weight"}
    return Message(role, turn.get("content"), read_weight(turn, path, problems), fields)


def read_weight(turn: dict[str, object], path: str, problems: list[Problem]) -> int:
    """C207: only an assistant turn has a weight, 0 or 1."""
    weight = turn.get("weight", 1)
    is_number = isinstance(weight, int) and not isinstance(weight, bool) and weight in (0, 1)
    if "weight" in turn and (turn["role"] != "assistant" or not is_number):
        message = f"weight {weight!r} on a turn of {turn['role']}"
        problems.append(Problem("C207", message, "remove the key", f"{path}/weight"))
    return 0 if weight == 0 and is_number else 1


def check_order(messages: list[Message], problems: list[Problem]) -> None:
    """C202, C203, C204, C208 and C209: the order of turns and what is in them."""
    trained = False
    for i, message in enumerate(messages):
        path = f"/messages/{i}"
        if message.role == "system" and i > 0:
            problems.append(
                Problem("C202", f"system at turn {i + 1}", "merge into the first", path)
            )
        if i > 0 and message.role == messages[i - 1].role != "tool":
            problems.append(
                Problem("C208", f"{message.role} twice in a row", "merge", path, Severity.WARNING)
            )
        if message.role != "assistant":
            continue
        trained = trained or message.weight == 1
        if not message.content and not message.fields.get("tool_calls"):
            problems.append(
                Problem("C204", "empty assistant turn without tool calls", "remove it", path)
            )
    if not trained:
        problems.append(
            Problem("C203", "no assistant turn with weight 1", "add an answer", "/messages")
        )
    elif messages[-1].role != "assistant":
        path = f"/messages/{len(messages) - 1}"
        message_text = f"last turn is {messages[-1].role}, not assistant"
        problems.append(Problem("C209", message_text, "it is ignored", path, Severity.WARNING))


def check_tool_ids(messages: list[Message], problems: list[Problem]) -> None:
    """C205: every tool message answers a call that stands before it, and every call is answered."""
    open_calls: dict[str, str] = {}
    for i, message in enumerate(messages):
        if message.role == "assistant":
            open_calls |= {
                call_id: f"/messages/{i}/tool_calls/{j}"
                for j, call in enumerate(read_calls(message))
                if isinstance(call_id := call.get("id"), str)
            }
        elif message.role == "tool":
            answered = str(message.fields.get("tool_call_id"))
            if open_calls.pop(answered, None) is None:
                problems.append(
                    Problem(
                        "C205",
                        f"no open tool call has the id {answered!r}",
                        "match the ids",
                        f"/messages/{i}/tool_call_id",
                    )
                )
    last_is_call = messages[-1].role == "assistant"
    problems.extend(
        Problem("C205", f"tool call {call_id!r} has no answer", "match the ids", path)
        for call_id, path in open_calls.items()
        if not (last_is_call and path.startswith(f"/messages/{len(messages) - 1}/"))
    )


def read_calls(message: Message) -> list[Mapping[str, object]]:
    """The tool calls of a turn that are objects."""
    calls = message.fields.get("tool_calls")
    return [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []


def check_arguments(
    messages: list[Message], tools: tuple[Mapping[str, object], ...], problems: list[Problem]
) -> None:
    """C206: a call's arguments are a JSON object with the declared properties."""
    declared = read_parameters(tools)
    for i, message in enumerate(messages):
        for j, call in enumerate(read_calls(message)):
            function = call.get("function")
            if not isinstance(function, dict):
                function = call
            complaint = judge_arguments(
                function.get("arguments"), declared.get(str(function.get("name")))
            )
            if complaint is not None:
                path = f"/messages/{i}/tool_calls/{j}"
                problems.append(Problem("C206", complaint, "write a JSON object", path))


def read_parameters(tools: tuple[Mapping[str, object], ...]) -> dict[str, Mapping[str, object]]:
    """Tool name → JSON schema of its parameters."""
    schemas: dict[str, Mapping[str, object]] = {}
    for tool in tools:
        function = tool.get("function", tool)
        if isinstance(function, dict) and isinstance(function.get("parameters"), dict):
            schemas[str(function.get("name"))] = function["parameters"]
    return schemas


def judge_arguments(arguments: object, schema: Mapping[str, object] | None) -> str | None:
    """Say what is wrong with a call's arguments, None when nothing is.

    Of the schema only the names of properties, `required` and `additionalProperties` are judged.
    """
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except json.JSONDecodeError as err:
            return f"arguments are not JSON at column {err.colno}"
    if not isinstance(arguments, dict):
        return "arguments are not a JSON object"
    if schema is None:
        return None
    required = schema.get("required")
    missing = set(required) - set(arguments) if isinstance(required, list) else set()
    if missing:
        return f"arguments lack {sorted(missing)}"
    properties = schema.get("properties")
    known = set(properties) if isinstance(properties, dict) else set()
    extra = set(arguments) - known
    if extra and schema.get("additionalProperties") is False:
        return f"arguments have undeclared {sorted(extra)}"
    return None
