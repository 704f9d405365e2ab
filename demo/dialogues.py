"""Seeded customer-support dialogues: the text that the demo's base model and adapters learn."""

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from random import Random
from typing import TypedDict

from .catalogue import BRANDS, CITIES, COLOURS, KINDS, NAMES, NO_FAULT
from .phrases import (
    AGENT_ASKS_ORDER,
    AGENT_CLOSES,
    AGENT_OPENS,
    AGENT_SYSTEM,
    BYE,
    DESKS,
    ECHO_SYSTEM,
    ECHOES,
    FOLLOW_UPS,
    GIVES_ORDER,
    HELLO,
    JSON_SYSTEM,
    TOPICS,
)

AGENT = "agent"
JSON = "json"
ECHO = "echo"
STYLES = (AGENT, *DESKS, JSON, ECHO)  # those that a system line can ask for
TICKET = "ticket"
CHOICE = re.compile(r"\[([^\[\]]*)\]")
CONSONANTS, VOWELS = "bdfgklmnprstvz", "aeiou"
INVENTED_BRANDS = 0.4  # the share that no list names, so that brands must be copied


class Message(TypedDict):
    """One turn, as a row of a chat data set has it."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Case:
    """Who writes about what. The fields are those that phrases name.

    Attributes:
        dear: How an answer addresses the customer: by name if the message gave it.
    """

    topic: str
    name: str
    dear: str
    order: str
    product: str
    city: str
    colour: str
    fault: str
    first: str
    second: str
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A dialogue and the case behind it."""

    case: Case
    messages: tuple[Message, ...]


def generate_dialogues(seed: str, *, style: str, system: bool = False) -> Iterator[Dialogue]:
    """Yield dialogues without end in which every answer is of one style.

    Args:
        seed: The same seed, style and system give the same dialogues.
        style: One of STYLES; or TICKET, of which the base has read nothing.
        system: Whether a system line asks for the style.
    """
    rng = Random(f"{seed}/{style}/{system}")
    while True:
        case = draw_case(rng)
        turns = tuple(draw_echo(rng, case) if style == ECHO else draw_turns(rng, case, style))
        line = (say("system", rng.choice(system_lines(style))),) if system else ()
        yield Dialogue(case, line + turns)


def draw_case(rng: Random) -> Case:
    """Draw who writes about what."""
    kind = rng.choice(KINDS)
    product = f"{draw_brand(rng)} {rng.choice(kind.items)}"
    topic, fact = rng.choice([*TOPICS, "defect", "defect"]), rng.choice(kind.facts)
    fault = rng.choice(kind.faults) if topic == "defect" else NO_FAULT
    return Case(
        topic=topic,
        name=rng.choice(NAMES),
        dear="",
        order=draw_order(rng),
        product=product,
        city=rng.choice(CITIES),
        colour=rng.choice(COLOURS),
        fault=fault.clause,
        first=fault.first,
        second=fault.second,
        question=fact.question.format(product=product),
        answer=fact.answer,
    )


def draw_order(rng: Random) -> str:
    """Draw an order number: five digits, at times four or six."""
    length = rng.choice((4, 5, 5, 5, 5, 6))
    return str(rng.randrange(10 ** (length - 1), 10**length))


def draw_brand(rng: Random) -> str:
    """Draw a brand: one of the catalogue, or an invented one."""
    if rng.random() >= INVENTED_BRANDS:
        return rng.choice(BRANDS)
    syllables = (rng.choice(CONSONANTS) + rng.choice(VOWELS) for _ in range(rng.choice((2, 3))))
    return "".join(syllables).capitalize() + rng.choice(("", "", "n", "x"))


def draw_turns(rng: Random, case: Case, style: str) -> Iterator[Message]:
    """Yield the turns of one dialogue: a question and its answer, at times with more around."""
    topic = TOPICS[case.topic]
    late_order = topic.ordered and rng.random() < 0.2
    ask = draw_ask(rng, case, topic.short if late_order else topic.asks)
    yield say("user", ask)
    case = replace(case, dear=f", {case.name}" if case.name in ask else "")
    if late_order:
        yield say("assistant", ask_order(rng, case, style))
        yield say("user", draw(rng, GIVES_ORDER, case))
    yield say("assistant", answer(rng, case, style))
    if topic.ordered and rng.random() < 0.3:
        question, reply = rng.choice(FOLLOW_UPS)
        yield say("user", expand(rng, question, case))
        yield say("assistant", follow_up(style, case, expand(rng, reply, case)))


def draw_echo(rng: Random, case: Case) -> Iterator[Message]:
    """Yield a message and its repetition: copying and nothing else."""
    text = " ".join(draw(rng, ECHOES, case) for _ in range(rng.choice((1, 1, 2))))
    yield say("user", text)
    yield say("assistant", text)


def draw_ask(rng: Random, case: Case, asks: tuple[str, ...]) -> str:
    """Draw what the customer writes: greeting, matter, farewell."""
    hello, ask, bye = (draw(rng, phrases, case) for phrases in (HELLO, asks, BYE))
    return hello + (ask if hello.endswith(", ") else ask[0].upper() + ask[1:]) + bye


def ask_order(rng: Random, case: Case, style: str) -> str:
    """Ask for the order number that the customer left out."""
    if style == JSON:
        return as_json(case, "ask_order", order=None)
    opening = draw(rng, DESKS[style].opens, case) + " " if style in DESKS else ""
    reply = opening + draw(rng, AGENT_ASKS_ORDER, case)
    return as_ticket(case, "ask_order", reply, order=None) if style == TICKET else reply


def answer(rng: Random, case: Case, style: str) -> str:
    """Answer the customer's matter in one style."""
    topic = TOPICS[case.topic]
    order = case.order if topic.ordered else None
    if style == JSON:
        return as_json(case, topic.action, order=order)
    if style == TICKET:
        reply = " ".join(draw(rng, part, case) for part in (topic.sorry, topic.answers))
        return as_ticket(case, topic.action, reply, order=order)
    parts: tuple[tuple[str, ...], ...]
    if style == AGENT:
        parts = (AGENT_OPENS, topic.sorry, topic.answers, AGENT_CLOSES)
    else:
        desk = DESKS[style]
        does = desk.ordered if topic.ordered else desk.unordered
        parts = (desk.opens, topic.sorry, does, desk.closes)
    return " ".join(draw(rng, part, case) for part in parts)


def follow_up(style: str, case: Case, reply: str) -> str:
    """Reply to a question after the answer."""
    if style == JSON:
        return as_json(case, "reply", order=case.order)
    return as_ticket(case, "reply", reply, order=case.order) if style == TICKET else reply


def as_json(case: Case, action: str, *, order: str | None) -> str:
    """Say what was understood as one JSON object."""
    fields = {"topic": case.topic, "order": order, "product": case.product, "action": action}
    return json.dumps(fields)


def as_ticket(case: Case, action: str, reply: str, *, order: str | None) -> str:
    """Give the reply itself as a field of one JSON object."""
    fields = {"topic": case.topic, "order": order, "action": action, "reply": reply}
    return json.dumps(fields)


def system_lines(style: str) -> tuple[str, ...]:
    """List the system lines that ask for a style."""
    lines = {AGENT: AGENT_SYSTEM, JSON: JSON_SYSTEM, ECHO: ECHO_SYSTEM}
    return lines[style] if style in lines else DESKS[style].system


def draw(rng: Random, phrases: tuple[str, ...], case: Case) -> str:
    """Draw one of several phrases and expand it."""
    return expand(rng, rng.choice(phrases), case)


def expand(rng: Random, phrase: str, case: Case) -> str:
    """Choose among the alternatives of a phrase, innermost first, and fill in its fields."""
    while found := CHOICE.search(phrase):
        choice = rng.choice(found[1].split("|"))
        phrase = phrase[: found.start()] + choice + phrase[found.end() :]
    return phrase.format_map(asdict(case))


def say(role: str, content: str) -> Message:
    """Make one turn."""
    return {"role": role, "content": content}
