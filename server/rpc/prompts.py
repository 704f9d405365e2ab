"""Prompts to tokens: text as it is, conversations through the base's chat template."""

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from google.protobuf import json_format
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

from weft.adapters.errors import TemplateFailed
from weft.protos.v1 import inference_pb2
from weft.server.errors import StartFailed

BYTE_OF = {character: byte for byte, character in bytes_to_unicode().items()}
BYTE_FALLBACK = re.compile(r"<0x([0-9A-F]{2})>")
SENTENCEPIECE_SPACE = "▁"
SHORT_TEXT = 2000  # characters that are tokenised on the event loop; longer texts take a thread


@dataclass(frozen=True, slots=True)
class Prompt:
    """The rendered text (empty when tokens were given) and its tokens."""

    text: str
    tokens: list[int]


class Tokenizer:
    """The base model's tokenizer and chat template."""

    def __init__(self, folder: Path) -> None:
        loaded = AutoTokenizer.from_pretrained(folder)
        if not isinstance(loaded, PreTrainedTokenizerFast):
            raise StartFailed(f"{type(loaded).__name__} is no tokenizer of the tokenizers library")
        self.hf = loaded
        self._byte_level = "ByteLevel" in str(self.hf.backend_tokenizer.decoder)

    async def encode_text(self, text: str) -> Prompt:
        """Tokenise as it is, with the special tokens that the tokenizer itself adds."""
        return Prompt(text, await self._encode(text, add_special_tokens=True))

    async def encode_chat(self, chat: inference_pb2.ChatPrompt) -> Prompt:
        """Render and tokenise; the template writes special tokens itself.

        Raises:
            TemplateFailed: There is no template, or it cannot render these messages.
        """
        text = self.render(chat)
        return Prompt(text, await self._encode(text, add_special_tokens=False))

    def render(self, chat: inference_pb2.ChatPrompt) -> str:
        """Render the conversation as the template does in training."""
        if not self.hf.chat_template:
            raise TemplateFailed("this base model has no chat template; send text or tokens")
        opens = chat.add_generation_prompt if chat.HasField("add_generation_prompt") else True
        arguments = json_format.MessageToDict(chat.template_arguments)
        messages: list[dict[str, Any]] = [_message(message) for message in chat.messages]
        try:
            return str(
                self.hf.apply_chat_template(
                    messages,
                    tools=[json_format.MessageToDict(tool) for tool in chat.tools] or None,
                    chat_template=None,  # the base's; an argument of this name is refused
                    add_generation_prompt=opens,
                    tokenize=False,
                    **arguments,
                )
            )
        except (jinja2.TemplateError, TypeError, ValueError, KeyError) as error:
            raise TemplateFailed(f"the chat template cannot render this: {error}") from error

    def token_bytes(self, token: int) -> bytes:
        """The bytes of one token, which need not be whole characters."""
        piece = self.hf.backend_tokenizer.id_to_token(token) or ""
        if self._byte_level and set(piece) <= BYTE_OF.keys():
            return bytes(BYTE_OF[character] for character in piece)
        if fallback := BYTE_FALLBACK.fullmatch(piece):
            return bytes.fromhex(fallback[1])
        return piece.replace(SENTENCEPIECE_SPACE, " ").encode()

    def special_text(self, token: int) -> str:
        """The text of a special token, which streams leave out; empty for any other."""
        is_special = token in self.hf.all_special_ids
        return (self.hf.backend_tokenizer.id_to_token(token) or "") if is_special else ""

    async def _encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        def encode() -> list[int]:
            ids: list[int] = self.hf.encode(text, add_special_tokens=add_special_tokens)
            return ids

        return encode() if len(text) <= SHORT_TEXT else await asyncio.to_thread(encode)


def _message(message: inference_pb2.ChatMessage) -> dict[str, object]:
    found: dict[str, object] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        found["tool_calls"] = [
            {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}}
            for c in message.tool_calls
        ]
    if message.tool_call_id:
        found["tool_call_id"] = message.tool_call_id
    if message.name:
        found["name"] = message.name
    return found
