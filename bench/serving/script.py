"""What a generator is told to send, drawn before anything is sent: equal seeds, equal scripts."""

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from .plan import AdapterSpec, Chain, Churn, Run, Stream
from .traffic import draw_places, draw_times


@dataclass(frozen=True, slots=True)
class Call:
    """One Generate call; greedy, of exactly `new_tokens`.

    Attributes:
        model: An adapter's name; None = the base.
        group: Among whose figures it counts.
        then: Sent together once it has ended: their prompts are its prompt, its answer, and
            their own tokens.
    """

    model: str | None
    tokens: Sequence[int]
    new_tokens: int
    tenant: int = 0
    group: str = ""
    then: tuple["Call", ...] = ()


@dataclass(frozen=True, slots=True)
class Arrival:
    """A call at its time, whatever happened to earlier ones.

    Attributes:
        at_s: Since the run's begin.
        publishes: An adapter that is published first.
    """

    at_s: float
    call: Call
    publishes: str | None = None


def draw_script(run: Run, *, knee: float, vocab_size: int, seed: int) -> list[Arrival]:
    """Everything that a run sends, in order.

    Args:
        knee: Requests per second of which the streams take their shares.
    """
    draw = np.random.default_rng([seed, crc32(run.case.encode())])  # no run repeats another's
    arrivals = [
        arrival
        for stream in run.streams
        for arrival in _draw_stream(stream, run.seconds, knee, vocab_size, draw)
    ]
    if run.chain is not None:
        arrivals += _draw_chains(run.chain, run.seconds, knee, vocab_size, draw)
    if run.churn is not None:
        arrivals += _draw_churn(run.churn, run.seconds, vocab_size, draw)
    return sorted(arrivals, key=lambda arrival: arrival.at_s)


def _draw_stream(
    stream: Stream, seconds: float, knee: float, vocab_size: int, draw: np.random.Generator
) -> list[Arrival]:
    times = draw_times(stream.rate_at(knee), seconds, cv=stream.cv, draw=draw)
    lengths = stream.lengths.draw(len(times), draw)
    specs: list[AdapterSpec | None] = [None] * len(times)
    if stream.adapters:
        places = draw_places(stream.popularity, len(times), len(stream.adapters), draw)
        specs = [stream.adapters[place] for place in places]
    rows = zip(times, specs, lengths.prompts, lengths.outputs, strict=True)
    return [
        Arrival(
            float(at_s), _call(spec, _tokens(prompt, vocab_size, draw), output, group=stream.group)
        )
        for at_s, spec, prompt, output in rows
    ]


def _draw_chains(
    chain: Chain, seconds: float, knee: float, vocab_size: int, draw: np.random.Generator
) -> list[Arrival]:
    """The base answers a context; then several adapters go on from both."""
    return [
        Arrival(
            float(at_s),
            Call(
                None,
                _tokens(chain.context, vocab_size, draw),
                chain.answer,
                group="base",
                then=tuple(
                    _call(
                        chain.adapters[place],
                        _tokens(chain.own, vocab_size, draw),
                        chain.output,
                        group="adapters",
                    )
                    for place in draw_places("uniform", chain.width, len(chain.adapters), draw)
                ),
            ),
        )
        for at_s in draw_times(chain.load * knee, seconds, cv=1, draw=draw)
    ]


def _draw_churn(
    churn: Churn, seconds: float, vocab_size: int, draw: np.random.Generator
) -> list[Arrival]:
    """Publications at even distances in every second phase, each asked for once."""
    arrivals = []
    cold = iter(churn.cold)
    for begin in np.arange(churn.phase_s, seconds, 2 * churn.phase_s):
        for i in range(churn.per_phase):
            spec = next(cold)
            call = _call(spec, _tokens(churn.prompt, vocab_size, draw), churn.output, group="cold")
            at_s = float(begin) + (i + 0.5) * churn.phase_s / churn.per_phase
            arrivals.append(Arrival(at_s, call, publishes=spec.name))
    return arrivals


def _call(spec: AdapterSpec | None, tokens: list[int], new_tokens: int, *, group: str) -> Call:
    if spec is None:
        return Call(None, tokens, int(new_tokens), group=group)
    return Call(spec.name, tokens, int(new_tokens), tenant=spec.tenant, group=group)


def _tokens(num: int, vocab_size: int, draw: np.random.Generator) -> list[int]:
    """Random ones, so that no two prompts share a prefix."""
    tokens: list[int] = draw.integers(vocab_size, size=num).tolist()
    return tokens
