"""Small conversations for the tests of data sets and training."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from weft.adapters.dataset import Row, read_dataset

BASE_DIGEST = "sha256:" + "0" * 64


class Tiny(NamedTuple):
    """A tiny base in memory."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


def load_tiny(folder: Path) -> Tiny:
    """Load a tiny base in float32."""
    return Tiny(AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder))


def chat(question: str, answer: str, **extra: object) -> dict[str, object]:
    """One question and its answer, as a row."""
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": turns, **extra}


def orders(num_rows: int) -> list[dict[str, object]]:
    """Rows of growing length, each another order."""
    return [
        chat(f"order {i}?", f"order {i} was shipped" + " fox" * (i % 7)) for i in range(num_rows)
    ]


def write_jsonl(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """Write rows, one per line."""
    path.write_text("".join(json.dumps(dict(row)) + "\n" for row in rows))
    return path


def read_rows(path: Path, rows: Sequence[Mapping[str, object]]) -> tuple[Row, ...]:
    """Write rows and read them back."""
    return read_dataset(write_jsonl(path, rows)).rows
