"""Prompts become the tokens that training would have seen."""

from pathlib import Path

import pytest
from google.protobuf.struct_pb2 import Struct
from transformers import AutoTokenizer

from weft.adapters.errors import TemplateFailed
from weft.protos.v1.inference_pb2 import ChatMessage, ChatPrompt, ToolCall
from weft.server.rpc.prompts import SHORT_TEXT, Tokenizer


@pytest.fixture(scope="module")
def tokenizer(tiny_llama: Path) -> Tokenizer:
    return Tokenizer(tiny_llama)


def chat(*turns: tuple[str, str], opens: bool | None = None) -> ChatPrompt:
    messages = [ChatMessage(role=role, content=content) for role, content in turns]
    return ChatPrompt(messages=messages, add_generation_prompt=opens)


async def test_text_is_tokenised_as_it_is(tokenizer: Tokenizer) -> None:
    prompt = await tokenizer.encode_text("the <|user|> fox")
    assert tokenizer.hf.decode(prompt.tokens) == "the <|user|> fox"
    assert prompt.text == "the <|user|> fox"


async def test_long_text_gives_the_same_tokens_as_its_parts(tokenizer: Tokenizer) -> None:
    unit = "the quick brown fox. "
    long = await tokenizer.encode_text(unit * SHORT_TEXT)
    assert long.tokens == tokenizer.hf.encode(unit * SHORT_TEXT)


async def test_conversation_goes_through_the_template_and_opens_the_answer(
    tokenizer: Tokenizer, tiny_llama: Path
) -> None:
    prompt = await tokenizer.encode_chat(chat(("system", "be kind"), ("user", "hello")))
    reference = AutoTokenizer.from_pretrained(tiny_llama).apply_chat_template(
        [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hello"}],
        add_generation_prompt=True,
        return_dict=False,
    )
    assert prompt.tokens == reference
    assert prompt.text.endswith("<|assistant|>")


async def test_the_answer_is_left_closed_when_asked(tokenizer: Tokenizer) -> None:
    prompt = await tokenizer.encode_chat(chat(("user", "hello"), opens=False))
    assert prompt.text == "<|user|>hello<|end|>"


async def test_template_is_given_tools_calls_and_arguments(tiny_llama: Path) -> None:
    tokenizer = Tokenizer(tiny_llama)
    tokenizer.hf.chat_template = (
        "{{ tools[0]['name'] }} {{ extra }} {{ messages[0]['tool_calls'][0]['function']['name'] }}"
        " {{ messages[1]['tool_call_id'] }}"
    )
    tool, arguments = Struct(), Struct()
    tool.update({"name": "track"})
    arguments.update({"extra": "now"})
    prompt = ChatPrompt(
        messages=[
            ChatMessage(role="assistant", tool_calls=[ToolCall(id="1", name="find")]),
            ChatMessage(role="tool", content="x", tool_call_id="1"),
        ],
        tools=[tool],
        template_arguments=arguments,
    )
    assert tokenizer.render(prompt) == "track now find 1"


@pytest.mark.parametrize("template", ["{{ raise_exception('no system turn') }}", "{{ x.y.z }}", ""])
def test_what_the_template_cannot_render_is_said(tiny_llama: Path, template: str) -> None:
    tokenizer = Tokenizer(tiny_llama)
    tokenizer.hf.chat_template = template
    with pytest.raises(TemplateFailed):
        tokenizer.render(chat(("user", "hello")))


def test_token_bytes_join_to_the_bytes_of_the_text(tokenizer: Tokenizer) -> None:
    text = "the fox 🧶 é"
    ids = tokenizer.hf.encode(text)
    assert b"".join(map(tokenizer.token_bytes, ids)) == text.encode()
    [end] = tokenizer.hf.encode("<|end|>")
    assert tokenizer.token_bytes(end) == b"<|end|>"


def test_an_argument_cannot_replace_the_template(tokenizer: Tokenizer) -> None:
    arguments = Struct()
    arguments.update({"chat_template": "{{ 1 }}"})
    prompt = chat(("user", "hello"))
    prompt.template_arguments.CopyFrom(arguments)
    with pytest.raises(TemplateFailed, match="chat_template"):
        tokenizer.render(prompt)


def test_only_special_tokens_have_special_text(tokenizer: Tokenizer) -> None:
    end, letter = tokenizer.hf.encode("<|end|>a", add_special_tokens=False)
    assert (tokenizer.special_text(end), tokenizer.special_text(letter)) == ("<|end|>", "")
