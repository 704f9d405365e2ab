"""What one step runs: plain data."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from .sequence import Sequence, State


class Chunk(NamedTuple):
    """Tokens `start` to `stop` of a sequence, or of one of its beams.

    Attributes:
        drafts: What may follow, computed beside the last one, in blocks that the sequence holds.
        source: The block that the one of `start` has to be a copy of, before the step.
        preemptions: Of the sequence, when this was planned.
    """

    sequence: Sequence
    start: int
    stop: int
    drafts: tuple[int, ...] = ()
    source: int | None = None
    preemptions: int = 0

    @property
    def num_rows(self) -> int:
        return self.stop - self.start + len(self.drafts)

    @property
    def end(self) -> int:
        """Tokens of the sequence with its drafts."""
        return self.stop + len(self.drafts)

    @property
    def wants_logits(self) -> bool:
        """Whether its last token is the sequence's, which may be drawn and not yet read."""
        return self.stop >= len(self.sequence.tokens)

    @property
    def is_part(self) -> bool:
        """Whether it is of a prompt that goes on, of no search."""
        return not self.wants_logits and self.sequence.request.beams is None

    @property
    def is_current(self) -> bool:
        """Whether its sequence has run on since it was planned."""
        sequence = self.sequence.leader or self.sequence
        return sequence.state is State.RUNNING and self.preemptions == self.sequence.num_preemptions

    @property
    def tokens(self) -> list[int]:
        """What it computes, its drafts with it; 0 for a token that nobody has read."""
        return [*self.sequence.tokens[self.start : self.stop], *self.drafts] or [0]

    @property
    def position(self) -> int:
        """Of the token that it draws, counted from the first one generated."""
        return self.stop - len(self.sequence.request.tokens)

    @property
    def ends(self) -> bool:
        """Whether the token that it draws is the last one, whichever it is."""
        return self.position + 1 >= self.sequence.request.max_tokens

    @property
    def draws(self) -> bool:
        """Whether the next token is drawn, and not found by a search."""
        return self.wants_logits and self.sequence.request.beams is None

    @property
    def told(self) -> range:
        """Positions whose next token is the prompt's and is to be told with its log-probability."""
        request = self.sequence.request
        if request.prompt_logprobs is None:
            return range(0)
        first = max(self.start, self.sequence.num_told)
        return range(first, max(first, min(self.stop, len(request.tokens) - 1)))


class Plan(NamedTuple):
    """The chunks of a step.

    Attributes:
        follows: For every chunk the row of the step before whose draw is its token, if nobody has
            read that; None where the host knows the tokens. Empty where it knows all.
    """

    chunks: tuple[Chunk, ...]
    follows: tuple[int | None, ...] = ()

    @property
    def num_tokens(self) -> int:
        return sum(chunk.num_rows for chunk in self.chunks)

    @property
    def kv_tokens(self) -> int:
        """Tokens whose keys and values the step reads."""
        return sum(chunk.end for chunk in self.chunks)

    @property
    def drawing(self) -> dict[Sequence, tuple[int, Chunk]]:
        """The chunks that draw, of sequences that have run on, each with the row of its draw."""
        draws = enumerate(chunk for chunk in self.chunks if chunk.draws)
        return {chunk.sequence: (row, chunk) for row, chunk in draws if chunk.is_current}

    @property
    def searching(self) -> list[Sequence]:
        """The sequences whose beams are to go on after the step, in the order of their rows."""
        rows = [c.sequence for c in self.chunks if c.wants_logits and not c.draws]
        return list(dict.fromkeys(row.leader or row for row in rows))

    def copies(self, block_tokens: int) -> list[tuple[int, int]]:
        """Blocks that are to be copied before the step, from and to."""
        return [
            (chunk.source, chunk.sequence.blocks[chunk.start // block_tokens])
            for chunk in self.chunks
            if chunk.source is not None
        ]

    @property
    def kind(self) -> str:
        """Name the step for its figures: `prefill`, `decode` or `mixed`."""
        num_decodes = sum(chunk.sequence.num_generated > 0 for chunk in self.chunks)
        if num_decodes == len(self.chunks):
            return "decode"
        return "mixed" if num_decodes else "prefill"


@dataclass(slots=True)
class Draft:
    """A plan in the making: tokens per sequence, and the tokens that may still be added.

    Attributes:
        ending: Running sequences that are not in it, for the step in flight ends them.
    """

    budget: int
    ending: set[Sequence] = field(default_factory=set)
    _chunks: dict[Sequence, Chunk] = field(default_factory=dict)
    _rows: dict[Sequence, int] = field(default_factory=dict)

    def add(self, sequence: Sequence, num: int) -> None:
        start = sequence.num_computed
        self._chunks[sequence] = Chunk(
            sequence, start, start + num, preemptions=sequence.num_preemptions
        )
        self.budget -= num

    def add_beams(self, beams: Iterable[Sequence], num: int) -> None:
        """Add as many tokens of each beam of a sequence."""
        for beam in beams:
            start = beam.num_computed
            self._chunks[beam] = Chunk(beam, start, start + num, source=beam.source)
            beam.source = None
            self.budget -= num

    def follow(self, chunk: Chunk, row: int) -> None:
        """Add the token that a chunk in flight draws, in this row of its step."""
        self._chunks[chunk.sequence] = chunk._replace(start=chunk.stop, stop=chunk.stop + 1)
        self._rows[chunk.sequence] = row
        self.budget -= 1

    def drop(self, sequence: Sequence) -> None:
        self.ending.discard(sequence)
        self._rows.pop(sequence, None)
        for row in sequence.rows:
            chunk = self._chunks.pop(row, None)
            if chunk is not None:
                self.budget += chunk.stop - chunk.start

    def plan(self) -> Plan:
        follows = tuple(map(self._rows.get, self._chunks)) if self._rows else ()
        return Plan(tuple(self._chunks.values()), follows)


class Ended(NamedTuple):
    """A sequence that its last token ended."""

    sequence: Sequence
    reason: str
