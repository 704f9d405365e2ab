"""A conversation as a tokenizer's chat template renders it."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase


class Rendered(NamedTuple):
    """Token ids, and 1 where the template marks them as the assistant's."""

    ids: list[int]
    mask: list[int]


def render(
    tokenizer: PreTrainedTokenizerBase, messages: Iterable[Mapping[str, object]]
) -> Rendered:
    """Apply the template with its marks."""
    rendered = tokenizer.apply_chat_template(
        [{key: str(value) for key, value in message.items()} for message in messages],
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    return Rendered(rendered["input_ids"], rendered["assistant_masks"])  # type: ignore[index, call-overload, arg-type]
