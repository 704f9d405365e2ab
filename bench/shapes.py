"""The shapes of Llama that are measured. Their weights are random, so no download is needed."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    """A Llama's sizes, and the batch that is run on it unless told otherwise.

    Attributes:
        rope: Parameters of the rotary embedding, in transformers' terms.
    """

    name: str
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    vocab_size: int
    tied: bool
    max_context: int
    rope: Mapping[str, str | float]
    batch: int
    prompt_tokens: int
    new_tokens: int


PLAIN_ROPE: dict[str, str | float] = {"rope_type": "default", "rope_theta": 10_000.0}
LLAMA_3_1_ROPE: dict[str, str | float] = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}

SHAPES = {
    shape.name: shape
    for shape in (
        Shape(
            "8b",
            hidden_size=4096,
            intermediate_size=14336,
            num_layers=32,
            num_heads=32,
            num_kv_heads=8,
            vocab_size=128_256,
            tied=False,
            max_context=131_072,
            rope=LLAMA_3_1_ROPE,
            batch=32,
            prompt_tokens=1024,
            new_tokens=64,
        ),
        Shape(
            "7b",
            hidden_size=4096,
            intermediate_size=11008,
            num_layers=32,
            num_heads=32,
            num_kv_heads=32,
            vocab_size=32_000,
            tied=False,
            max_context=4096,
            rope=PLAIN_ROPE,
            batch=32,
            prompt_tokens=1024,
            new_tokens=64,
        ),
        Shape(
            "82m",
            hidden_size=768,
            intermediate_size=2048,
            num_layers=12,
            num_heads=12,
            num_kv_heads=4,
            vocab_size=8192,
            tied=True,
            max_context=2048,
            rope=PLAIN_ROPE,
            batch=16,
            prompt_tokens=64,
            new_tokens=64,
        ),
        Shape(
            "tiny",
            hidden_size=64,
            intermediate_size=128,
            num_layers=2,
            num_heads=4,
            num_kv_heads=2,
            vocab_size=320,
            tied=True,
            max_context=512,
            rope=PLAIN_ROPE,
            batch=4,
            prompt_tokens=12,
            new_tokens=8,
        ),
    )
}
