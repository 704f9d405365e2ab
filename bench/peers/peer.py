"""What a suite asks of somebody else's engine."""

from collections.abc import Sequence
from typing import Protocol

from weft.bench.contest import Timing
from weft.bench.driver import Answer

WEFT_GRPC = "weft-grpc"
"""The name of the peer whose module needs gRPC."""


class Peer(Protocol):
    """Runs batches of prompts of one length; rows name their adapter by digest, the base by None.

    Both ways are greedy, and an end token means nothing.
    """

    @property
    def versions(self) -> dict[str, str]:
        """Versions of what it brings beside the packages of this environment."""

    def answer(
        self, prompts: Sequence[list[int]], digests: Sequence[str | None], *, new_tokens: int
    ) -> list[Answer]:
        """Tokens of every row, with log-probabilities."""

    def time(
        self, prompts: Sequence[list[int]], digests: Sequence[str | None], *, new_tokens: int
    ) -> Timing:
        """Run a batch once."""


def rotate(prompts: Sequence[list[int]], num: int) -> list[list[int]]:
    """The same tokens from another one on, so that a server that keeps prefixes finds none."""
    return [tokens[num % len(tokens) :] + tokens[: num % len(tokens)] for tokens in prompts]
