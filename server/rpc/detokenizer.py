"""Tokens to text as they come: whole characters only, and never past a stop string."""

from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream


@dataclass(frozen=True, slots=True)
class Piece:
    """New text, and the stop string that ended it, if one did."""

    text: str
    stop: str | None = None


class Detokenizer:
    """The text of one stream.

    Text that may turn out to begin a stop string is held back until it is known.
    """

    def __init__(
        self, tokenizer: Tokenizer, *, stop: Sequence[str] = (), include_stop: bool = False
    ) -> None:
        self._tokenizer = tokenizer
        self._decoder = DecodeStream(skip_special_tokens=True)
        self._stop = tuple(stop)
        self._include_stop = include_stop
        self._held = ""
        self._tokens: list[int] = []
        self._decoded = 0

    def push(self, token: int, *, may_stop: bool = True) -> Piece:
        """Take the next token; nothing may be pushed after a piece that has a stop string.

        Without `may_stop` a stop string that this token completes is text like any other.
        """
        self._tokens.append(token)
        text = self._decoder.step(self._tokenizer, token) or ""
        self._decoded += len(text)
        self._held += text
        if may_stop and (found := self._first_stop()) is not None:
            at, stop = found
            end = at + len(stop) if self._include_stop else at
            return Piece(self._held[:end], stop)
        keep = max((_overlap(self._held, stop) for stop in self._stop), default=0)
        ready, self._held = (
            self._held[: len(self._held) - keep],
            self._held[len(self._held) - keep :],
        )
        return Piece(ready)

    def finish(self) -> str:
        """Give what was held back, and the replacement character for an incomplete one."""
        whole = self._tokenizer.decode(self._tokens, skip_special_tokens=True)
        held, self._held = self._held + whole[self._decoded :], ""
        return held

    def _first_stop(self) -> tuple[int, str] | None:
        found = [(at, stop) for stop in self._stop if (at := self._held.find(stop)) >= 0]
        return min(found, default=None)


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that is a beginning of `stop`."""
    sizes = range(min(len(text), len(stop) - 1), 0, -1)
    return next((size for size in sizes if text.endswith(stop[:size])), 0)
