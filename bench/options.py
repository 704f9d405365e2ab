"""What a suite of batches is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .shapes import Shape


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """One base model, its adapters, and the batches that are run on them.

    Attributes:
        peers: Who runs the same beside the engine.
        vllm_python: Of the environment that vLLM is installed in; None = nowhere.
    """

    shape: Shape
    device: str
    dtype: str
    num_adapters: int
    ranks: Sequence[int]
    batch: int
    prompt_tokens: int
    new_tokens: int
    threads: int
    seed: int
    peers: Sequence[str] = ()
    vllm_python: Path | None = None

    def __post_init__(self) -> None:
        total = self.prompt_tokens + self.new_tokens
        if total > self.shape.max_context:
            raise ValueError(f"{total} tokens exceed the shape's {self.shape.max_context}")
