"""What a suite of batches is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .shapes import Shape


@dataclass(frozen=True, slots=True)
class OpenAiServer:
    """A server of OpenAI's completions that runs already.

    Attributes:
        url: Up to and with `/v1`.
        model: What it calls the base; adapters are models under their own names.
    """

    url: str
    model: str


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """One base model, its adapters, and the batches that are run on them.

    Attributes:
        peers: Who runs the same beside the engine.
        vllm_python: Of the environment that vLLM is installed in; None = nowhere.
        openai: Where a peer of that name runs.
        weft_address: Where a server of ours runs, as a peer.
        quantisation: Of the base while it serves; None = none.
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
    openai: OpenAiServer | None = None
    weft_address: str | None = None
    quantisation: str | None = None

    def __post_init__(self) -> None:
        total = self.prompt_tokens + self.new_tokens
        if total > self.shape.max_context:
            raise ValueError(f"{total} tokens exceed the shape's {self.shape.max_context}")
