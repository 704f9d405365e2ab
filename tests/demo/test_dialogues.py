"""The generator: seeded, grammatical, and every answer names what the customer said."""

import json
from itertools import islice
from random import Random

import pytest

from weft.demo.dialogues import (
    AGENT,
    ECHO,
    JSON,
    STYLES,
    Dialogue,
    draw_case,
    draw_order,
    expand,
    generate_dialogues,
)
from weft.demo.phrases import DESKS, TOPICS


def take(count: int, style: str, *, seed: str = "test", system: bool = False) -> list[Dialogue]:
    return list(islice(generate_dialogues(seed, style=style, system=system), count))


@pytest.mark.parametrize("style", STYLES)
def test_a_seed_gives_the_same_dialogues(style: str) -> None:
    assert take(20, style) == take(20, style)
    assert take(20, style) != take(20, style, seed="other")


@pytest.mark.parametrize("style", STYLES)
def test_turns_alternate_and_end_with_an_answer(style: str) -> None:
    for dialogue in take(200, style):
        roles = [message["role"] for message in dialogue.messages]
        assert roles == ["user", "assistant"] * (len(roles) // 2)


@pytest.mark.parametrize("style", STYLES)
def test_a_system_line_comes_first_when_asked_for(style: str) -> None:
    for dialogue in take(20, style, system=True):
        assert [message["role"] for message in dialogue.messages][:2] == ["system", "user"]


@pytest.mark.parametrize("style", STYLES)
def test_nothing_of_the_grammar_is_left_in_the_text(style: str) -> None:
    for dialogue in take(300, style, system=True):
        text = " ".join(message["content"] for message in dialogue.messages)
        assert not set(text.replace('{"topic"', "").replace('"}', "")) & set("[]{}|")


@pytest.mark.parametrize("style", [AGENT, *DESKS])
def test_the_answer_about_an_order_names_its_number_and_product(style: str) -> None:
    for dialogue in take(300, style):
        if TOPICS[dialogue.case.topic].ordered:
            answers = " ".join(
                message["content"]
                for message in dialogue.messages
                if message["role"] == "assistant"
            )
            assert dialogue.case.order in answers
            assert dialogue.case.product in answers


def test_answers_name_only_what_the_customer_has_said() -> None:
    for dialogue in [dialogue for style in (AGENT, *DESKS) for dialogue in take(300, style)]:
        heard = ""
        for message in dialogue.messages:
            if message["role"] == "user":
                heard += message["content"]
                continue
            case = dialogue.case
            named = {w for w in (case.order, case.name, case.product) if w in message["content"]}
            assert all(word in heard for word in named)


def test_json_answers_are_objects_of_what_was_said() -> None:
    for dialogue in take(300, JSON):
        last = json.loads(dialogue.messages[-1]["content"])
        ordered = TOPICS[dialogue.case.topic].ordered
        assert last["order"] == (dialogue.case.order if ordered else None)
        assert last["product"] == dialogue.case.product


def test_echoes_repeat_the_message() -> None:
    for dialogue in take(50, ECHO):
        asked, answered = dialogue.messages
        assert asked["content"] == answered["content"]


def test_orders_have_four_to_six_digits_and_seldom_repeat() -> None:
    rng = Random(0)
    orders = [draw_order(rng) for _ in range(500)]
    assert {len(order) for order in orders} == {4, 5, 6}
    assert len(set(orders)) > 480


def test_alternatives_nest() -> None:
    case = draw_case(Random(0))
    found = {expand(Random(seed), "[a|b[c|d]] {order}", case) for seed in range(50)}
    assert found == {f"{start} {case.order}" for start in ("a", "bc", "bd")}
