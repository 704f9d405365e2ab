"""`weft generate`: one answer as it comes, or the answers of several models side by side."""

import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

import click
from rich.live import Live
from rich.table import Table
from rich.text import Text

from weft.client import Answer, AsyncClient, Sampling, Stopping, WeftError, system, user
from weft.protos.v1.inference_pb2 import (
    EARLY_STOPPING_FIRST,
    EARLY_STOPPING_HEURISTIC,
    EARLY_STOPPING_NEVER,
    Constraint,
    GenerateRequest,
    GenerateResponse,
)
from weft.protos.v1.types_pb2 import PRIORITY_HIGH, PRIORITY_LOW, PRIORITY_NORMAL
from weft.server.ungrouped import ungrouped

from .session import Session, SessionCommand
from .terminal import document_of, short

PRIORITIES = {"high": PRIORITY_HIGH, "normal": PRIORITY_NORMAL, "low": PRIORITY_LOW}
EARLY_STOPPING = {
    "heuristic": EARLY_STOPPING_HEURISTIC,
    "first": EARLY_STOPPING_FIRST,
    "never": EARLY_STOPPING_NEVER,
}

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@dataclass(frozen=True, slots=True)
class Lane:
    """One model's request and its answer so far."""

    request: GenerateRequest
    answer: Answer = field(default_factory=Answer)

    @property
    def name(self) -> str:
        return self.request.model


@click.command(cls=SessionCommand)
@click.argument("model")
@click.argument("prompt", default="-", metavar="[PROMPT|-]")
@click.option("--vs", multiple=True, metavar="REF", help="Another model beside it; repeatable.")
@click.option("--system", "system_text", metavar="TEXT", help="System message before the prompt.")
@click.option("--text", "is_text", is_flag=True, help="Send the prompt without a chat template.")
@click.option("--max-tokens", type=click.IntRange(1), help="Longest completion.")
@click.option("--temperature", type=click.FloatRange(0, 2), help="0 is greedy.")
@click.option("--top-p", type=click.FloatRange(0, 1, min_open=True))
@click.option("--top-k", type=click.IntRange(1))
@click.option("--min-p", type=click.FloatRange(0, 1))
@click.option("--presence-penalty", type=click.FloatRange(-2, 2), help="Off what was said.")
@click.option("--frequency-penalty", type=click.FloatRange(-2, 2), help="Each time it was said.")
@click.option(
    "--repetition-penalty",
    type=click.FloatRange(0, 2, min_open=True),
    help="Divides the logits of what was said or asked.",
)
@click.option(
    "--logit-bias", multiple=True, metavar="TOKEN=BIAS", help="Added to a logit; repeatable."
)
@click.option("--min-tokens", type=click.IntRange(0), help="Nothing ends it before.")
@click.option("--json-schema", type=FILE, help="Schema that the answer validates against.")
@click.option("--regex", help="Regular expression that the whole answer matches.")
@click.option("--grammar", type=FILE, help="Grammar of the answer, as for Lark.")
@click.option("--seed", type=click.IntRange(0), help="Repeats an answer.")
@click.option("--stop", multiple=True, metavar="TEXT", help="Ends the completion; repeatable.")
@click.option("--priority", type=click.Choice(list(PRIORITIES)), help="Class of the request.")
@click.option("--n", type=click.IntRange(1, 8), help="So many completions.")
@click.option("--num-beams", type=click.IntRange(1, 8), help="Beams of a search; --n are told.")
@click.option(
    "--length-penalty",
    type=click.FloatRange(-10, 10),
    help="Power of the length that divides what beams score.",
)
@click.option("--early-stopping", type=click.Choice(list(EARLY_STOPPING)), help="Of a beam search.")
@click.option("--logprobs", type=click.IntRange(0, 20), help="Show so many alternatives.")
@click.option("--prompt-logprobs", type=click.IntRange(0, 20), help="The same of the prompt.")
@click.pass_obj
def generate(
    session: Session,
    model: str,
    prompt: str,
    vs: tuple[str, ...],
    system_text: str | None,
    is_text: bool,
    max_tokens: int | None,
    temperature: float | None,
    top_p: float | None,
    top_k: int | None,
    min_p: float | None,
    presence_penalty: float | None,
    frequency_penalty: float | None,
    repetition_penalty: float | None,
    logit_bias: tuple[str, ...],
    min_tokens: int | None,
    json_schema: Path | None,
    regex: str | None,
    grammar: Path | None,
    seed: int | None,
    stop: tuple[str, ...],
    priority: str | None,
    n: int | None,
    num_beams: int | None,
    length_penalty: float | None,
    early_stopping: str | None,
    logprobs: int | None,
    prompt_logprobs: int | None,
) -> None:
    """Stream the answer of MODEL to PROMPT, which - or nothing reads from standard input.

    MODEL is the base's name, adapter, adapter:alias, adapter@version or sha256:….
    """
    if is_text and system_text is not None:
        raise click.UsageError("--text sends no chat, so it takes no --system")
    prompt = sys.stdin.read() if prompt == "-" else prompt
    sampling = Sampling(
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        min_p=min_p,
        presence_penalty=presence_penalty,
        frequency_penalty=frequency_penalty,
        repetition_penalty=repetition_penalty,
        logit_bias=dict(map(read_bias, logit_bias)),
        seed=seed,
    )
    whole = GenerateRequest(
        sampling=sampling,
        n=n,
        num_beams=num_beams,
        length_penalty=length_penalty,
        early_stopping=None if early_stopping is None else EARLY_STOPPING[early_stopping],
        logprobs=logprobs,
        prompt_logprobs=prompt_logprobs,
    )
    if priority is not None:
        whole.priority = PRIORITIES[priority]
    whole.stopping.CopyFrom(Stopping(max_tokens=max_tokens, stop=stop, min_tokens=min_tokens))
    forms = [
        *([Constraint(json_schema=json_schema.read_text())] if json_schema else []),
        *([Constraint(regex=regex)] if regex is not None else []),
        *([Constraint(grammar=grammar.read_text())] if grammar else []),
    ]
    if len(forms) > 1:
        raise click.UsageError("--json-schema, --regex and --grammar are forms; give one")
    for form in forms:
        whole.constraint.CopyFrom(form)
    if is_text:
        whole.text = prompt
    else:
        opening = [] if system_text is None else [system(system_text)]
        whole.chat.messages.extend([*opening, user(prompt)])
    lanes = [Lane(for_model(whole, name)) for name in (model, *vs)]
    asyncio.run(show(session, lanes))


def read_bias(text: str) -> tuple[int, float]:
    """Read TOKEN=BIAS."""
    token, _, bias = text.partition("=")
    try:
        return int(token), float(bias)
    except ValueError:
        raise click.UsageError(f"--logit-bias {text!r} is not TOKEN=BIAS") from None


def for_model(request: GenerateRequest, model: str) -> GenerateRequest:
    copy = GenerateRequest(model=model)
    copy.MergeFrom(request)
    copy.model = model
    return copy


async def show(session: Session, lanes: list[Lane]) -> None:
    """Stream every lane at once, in the way that suits where it goes."""
    async with session.async_client() as weft:
        if session.terminal.json:
            await stream_all(weft, lanes, print_json)
        elif len(lanes) == 1 and lanes[0].request.n <= 1:
            await stream_all(weft, lanes, print_text)
            click.echo()
        elif sys.stdout.isatty():
            with Live(side_by_side(lanes), vertical_overflow="visible") as live:
                await stream_all(weft, lanes, lambda *_: live.update(side_by_side(lanes)))
        else:
            await stream_all(weft, lanes, lambda *_: None)
            for lane in lanes:
                click.echo(f"{lane.name}:\n{text_of(lane)}\n")
    if not session.terminal.json:
        for lane in lanes:
            print_logprobs(lane)
            if session.terminal.shows_progress:
                session.terminal.note(summary(lane))


async def stream_all(
    weft: AsyncClient, lanes: list[Lane], on_response: Callable[[Lane, GenerateResponse], None]
) -> None:
    """Stream the lanes side by side; the first failure ends them all.

    Raises:
        WeftError: That failure.
    """
    with ungrouped(WeftError):
        async with asyncio.TaskGroup() as tasks:
            for lane in lanes:
                tasks.create_task(stream_one(weft, lane, on_response))


async def stream_one(
    weft: AsyncClient, lane: Lane, on_response: Callable[[Lane, GenerateResponse], None]
) -> None:
    async with aclosing(weft.stream(lane.request, GenerateResponse)) as responses:
        async for response in responses:
            lane.answer.add(response)
            on_response(lane, response)


def print_json(lane: Lane, response: GenerateResponse) -> None:
    line = {"model": lane.name, **document_of(response)}
    click.echo(json.dumps(line, ensure_ascii=False))


def print_text(lane: Lane, response: GenerateResponse) -> None:
    if response.HasField("chunk"):
        click.echo(response.chunk.text, nl=False)
        sys.stdout.flush()


def side_by_side(lanes: list[Lane]) -> Table:
    table = Table.grid(expand=True, padding=(0, 2))
    for _ in lanes:
        table.add_column(ratio=1, overflow="fold")
    table.add_row(*(Text(lane.name, style="bold") for lane in lanes))
    table.add_row(*(Text(text_of(lane)) for lane in lanes))
    return table


def text_of(lane: Lane) -> str:
    """A lane's completions, one after another."""
    completions = sorted(lane.answer.completions.items())
    return "\n\n".join(completion.text for _, completion in completions)


def print_logprobs(lane: Lane) -> None:
    """One line per token: its logarithm of probability and itself, then its alternatives."""
    for completion in lane.answer.completions.values():
        for token in (*completion.prompt_logprobs, *completion.logprobs):
            shown = [token.chosen, *token.alternatives]
            click.echo(
                "  ".join(
                    f"{one.logprob:8.4f} {one.token.decode(errors='replace')!r}" for one in shown
                )
            )


def summary(lane: Lane) -> str:
    resolved, usage = lane.answer.resolved, lane.answer.usage
    if resolved is None or usage is None:
        return lane.name
    ended = [c.finished for _, c in sorted(lane.answer.completions.items()) if c.finished]
    scores = "".join(f"  {last.score:.4f}" for last in ended if last.HasField("score"))
    rate = 1000 * usage.generated_tokens / usage.decode_ms if usage.decode_ms else 0.0
    return (
        f"{resolved.model} {short(resolved.digest)}  {usage.prompt_tokens} + "
        f"{usage.generated_tokens} tokens  {rate:.1f} tokens/s  load {usage.load_ms:.0f} ms"
        + (f"  scores{scores}" if scores else "")
    )
