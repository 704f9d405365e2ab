"""What `weft bench engine` is told."""

from collections.abc import Sequence
from dataclasses import dataclass

from .shapes import Shape

P6_RANKS = (8, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """One base model, its adapters, and the batch that is run on them."""

    shape: Shape
    device: str
    dtype: str
    num_adapters: int
    ranks: Sequence[int]
    batch: int
    prompt_tokens: int
    new_tokens: int
    rounds: int
    threads: int
    seed: int
    peers: Sequence[str] = ()

    def __post_init__(self) -> None:
        total = self.prompt_tokens + self.new_tokens
        if total > self.shape.max_context:
            raise ValueError(f"{total} tokens exceed the shape's {self.shape.max_context}")

    @property
    def is_p6(self) -> bool:
        """Whether goal P6 is stated for this set-up."""
        stated = ("82m", "cpu", "bfloat16", 8, P6_RANKS, 16, 64, 64, 2)
        return stated == (
            self.shape.name,
            self.device,
            self.dtype,
            self.num_adapters,
            tuple(self.ranks),
            self.batch,
            self.prompt_tokens,
            self.new_tokens,
            self.threads,
        )
