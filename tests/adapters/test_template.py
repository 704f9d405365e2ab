"""Rows to tokens: masks against the template's marks, and each finding on a small row."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerBase

from tests.tiny import CHAT_TEMPLATE, tiny_tokenizer
from weft.adapters.template import Encoded, Encoding, draw_mask, encode_rows, template_line

from .chats import chat, read_rows

WITHOUT_MARKS = CHAT_TEMPLATE.replace("{% generation %}", "").replace("{% endgeneration %}", "")
FORGETFUL = (  # leaves earlier answers' reasoning out, as templates of reasoning models do
    "{% for message in messages %}<|{{ message['role'] }}|>"
    "{% if message['role'] == 'assistant' and loop.last %}{{ message['reasoning_content'] }}"
    "{% endif %}{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
TURNS = [
    {"role": "system", "content": "weave"},
    {"role": "user", "content": "weft?"},
    {"role": "assistant", "content": "the crosswise thread."},
    {"role": "user", "content": "warp?"},
    {"role": "assistant", "content": "the lengthwise one."},
]
TALK: Mapping[str, object] = {"messages": TURNS}


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return tiny_tokenizer()


@pytest.fixture
def encoding(tokenizer: PreTrainedTokenizerBase) -> Encoding:
    return Encoding(max_tokens=512, end_ids=frozenset({end_id(tokenizer)}))


def end_id(tokenizer: PreTrainedTokenizerBase) -> int:
    assert isinstance(tokenizer.eos_token_id, int)
    return tokenizer.eos_token_id


def with_template(template: str | None, **more: str) -> PreTrainedTokenizerBase:
    changed = tiny_tokenizer()
    changed.chat_template = template
    changed.add_special_tokens(dict(more))
    return changed


def encode(
    folder: Path,
    tokenizer: PreTrainedTokenizerBase,
    encoding: Encoding,
    *rows: Mapping[str, object],
) -> Encoded:
    return encode_rows(read_rows(folder / "rows.jsonl", list(rows)), tokenizer, encoding)


def codes(encoded: Encoded) -> list[str]:
    return [finding.code for finding in encoded.findings]


def turn_with_weight(weight: int) -> dict[str, object]:
    turns: list[dict[str, object]] = [dict(turn) for turn in TURNS]
    return {"messages": [*turns[:2], turns[2] | {"weight": weight}, *turns[3:]]}


def test_mask_covers_the_assistants_turns_with_their_end(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, encoding: Encoding
) -> None:
    (example,) = encode(tmp_path, tokenizer, encoding, TALK).examples

    text, mask = draw_mask(example, tokenizer)

    parts = [
        ("<|system|>weave<|end|><|user|>weft?<|end|><|assistant|>", "."),
        ("the crosswise thread.<|end|>", "^"),
        ("<|user|>warp?<|end|><|assistant|>", "."),
        ("the lengthwise one.<|end|>", "^"),
    ]
    assert text == "".join(part for part, _ in parts)
    assert mask == "".join(mark * len(part) for part, mark in parts)


def test_mask_by_prefix_is_that_of_the_marks(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, encoding: Encoding
) -> None:
    (marked,) = encode(tmp_path, tokenizer, encoding, TALK).examples
    (derived,) = encode(tmp_path, with_template(WITHOUT_MARKS), encoding, TALK).examples

    assert np.array_equal(derived.ids, marked.ids)
    assert np.array_equal(derived.trained, marked.trained)
    reference = tokenizer.apply_chat_template(
        TURNS, return_dict=True, return_assistant_tokens_mask=True
    )
    assert marked.ids.tolist() == reference["input_ids"]  # type: ignore[index, call-overload]
    assert marked.trained.tolist() == [bool(m) for m in reference["assistant_masks"]]  # type: ignore[index, call-overload]


def test_what_serving_will_have_cached_is_a_prefix_of_the_row(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, encoding: Encoding
) -> None:
    (example,) = encode(tmp_path, tokenizer, encoding, TALK).examples
    for turn in (2, 4):
        prompt = tokenizer.apply_chat_template(
            TURNS[:turn], add_generation_prompt=True, return_dict=True
        )["input_ids"]  # type: ignore[index, call-overload]
        assert example.ids[: len(prompt)].tolist() == prompt
        assert not example.trained[len(prompt) - 1]
        assert example.trained[len(prompt)]


@pytest.mark.parametrize("template", [CHAT_TEMPLATE, WITHOUT_MARKS])
def test_turn_with_weight_0_is_left_out(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, encoding: Encoding, template: str
) -> None:
    (whole,) = encode(tmp_path, tokenizer, encoding, turn_with_weight(1)).examples
    (part,) = encode(tmp_path, with_template(template), encoding, turn_with_weight(0)).examples

    assert np.array_equal(part.ids, whole.ids)
    assert tokenizer.decode(part.ids[part.trained].tolist()) == "the lengthwise one.<|end|>"


def test_turns_after_the_last_answer_are_ignored(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, encoding: Encoding
) -> None:
    longer = {"messages": [*TURNS, {"role": "user", "content": "thanks"}]}
    first, second = (encode(tmp_path, tokenizer, encoding, row) for row in (TALK, longer))
    assert first.examples[0].ids.tolist() == second.examples[0].ids.tolist()


def test_loss_on_all_trains_all_but_the_first_token(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, encoding: Encoding
) -> None:
    everything = replace(encoding, train_all=True)
    completion: Mapping[str, object] = {"prompt": "the warp", "completion": "b"}
    for row in (TALK, completion):
        (example,) = encode(tmp_path, tokenizer, everything, row).examples
        assert example.trained.tolist() == [False] + [True] * (example.num_tokens - 1)


def test_completion_trains_the_completion_and_the_end(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, encoding: Encoding
) -> None:
    row: Mapping[str, object] = {"prompt": "the warp", "completion": " and the weft"}
    (example,) = encode(tmp_path, tokenizer, encoding, row).examples

    prompt = tokenizer("the warp")["input_ids"]
    assert example.ids[: len(prompt)].tolist() == prompt
    trained = example.ids[example.trained].tolist()
    assert tokenizer.decode(trained) == " and the weft<|end|>"
    assert example.trained.tolist() == [False] * len(prompt) + [True] * len(trained)


def test_text_trains_every_token_and_one_end(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, encoding: Encoding
) -> None:
    for text in ("the warp", "the warp<|end|>"):
        (example,) = encode(tmp_path, tokenizer, encoding, {"text": text}).examples
        assert tokenizer.decode(example.ids.tolist()) == "the warp<|end|>"
        assert example.trained.tolist() == [False] + [True] * (example.num_tokens - 1)


def test_template_that_drops_earlier_reasoning_trains_turns_one_by_one(
    tmp_path: Path, encoding: Encoding
) -> None:
    turns = [dict(turn) for turn in TURNS]
    turns[2]["reasoning_content"], turns[4]["reasoning_content"] = "hm1 ", "hm2 "
    tokenizer = with_template(FORGETFUL)

    encoded = encode(tmp_path, tokenizer, encoding, {"messages": turns})

    assert codes(encoded) == ["T305"]
    trained = [tokenizer.decode(e.ids[e.trained].tolist()) for e in encoded.examples]
    assert trained == ["hm1 the crosswise thread.<|end|>", "hm2 the lengthwise one.<|end|>"]
    assert [example.row for example in encoded.examples] == [1, 1]
    whole = tokenizer.apply_chat_template(turns, return_dict=True)["input_ids"]  # type: ignore[index, call-overload]
    growth = sum(e.num_tokens for e in encoded.examples) - len(whole)
    assert f"{growth} tokens more" in encoded.findings[0].message


def test_row_that_the_template_refuses_is_found_with_its_line(
    tmp_path: Path, encoding: Encoding
) -> None:
    template = "{% if true %}\n{{ raise_exception('no system') }}\n{% endif %}"
    encoded = encode(tmp_path, with_template(template), encoding, TALK)
    assert codes(encoded) == ["T301"]
    assert encoded.findings[0].message == "the template fails at its line 2: no system"
    broken = encode(tmp_path, with_template("a\n{% if %}"), encoding, TALK)
    assert codes(broken) == ["T301"]
    assert "at its line 2" in broken.findings[0].message
    assert codes(encode(tmp_path, with_template(None), encoding, TALK)) == ["T301"]


def test_error_outside_the_template_names_no_line() -> None:
    assert template_line(ValueError("x")) == ""


@pytest.mark.parametrize(
    "template",
    [
        WITHOUT_MARKS.replace("<|assistant|>{% endif %}", "<|assistant|>go{% endif %}"),
        CHAT_TEMPLATE.replace(
            "{% generation %}{{ message['content'] }}<|end|>{% endgeneration %}",
            "{{ message['content'] }}<|end|>{% generation %}{% endgeneration %}",
        ),
    ],
    ids=["prompt is no prefix", "marks are empty"],
)
def test_template_that_gives_no_mask_is_found(
    tmp_path: Path, encoding: Encoding, template: str
) -> None:
    assert codes(encode(tmp_path, with_template(template), encoding, TALK)) == ["T302"]


def test_conversation_that_starts_with_the_assistant_needs_marks(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, encoding: Encoding
) -> None:
    row: Mapping[str, object] = {"messages": [{"role": "assistant", "content": "hello"}]}
    (example,) = encode(tmp_path, tokenizer, encoding, row).examples
    assert tokenizer.decode(example.ids[example.trained].tolist()) == "hello<|end|>"
    assert codes(encode(tmp_path, with_template(WITHOUT_MARKS), encoding, row)) == ["T302"]


def test_row_without_a_trained_token_is_found_or_left_out(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, encoding: Encoding
) -> None:
    short = replace(encoding, max_tokens=8)
    rows = [chat("a" * 20, "b"), chat("a", "b")]

    found = encode(tmp_path, tokenizer, short, *rows)
    assert codes(found) == ["L401", "T303"]
    assert found.findings[1].message == "row without any trained token after truncation"
    assert found.findings[1].row == 1

    left_out = encode(tmp_path, tokenizer, replace(short, drop_masked=True), *rows)
    assert [example.row for example in left_out.examples] == [2]
    assert (left_out.skipped_rows, codes(left_out)) == (1, [])


def test_completion_of_no_text_has_no_trained_token(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, encoding: Encoding
) -> None:
    found = encode(tmp_path, tokenizer, encoding, {"prompt": "a", "completion": ""})
    assert codes(found) == ["T303"]
    assert found.findings[0].message == "row without any trained token at all"


def test_mask_without_the_end_of_turn_is_found(tmp_path: Path, encoding: Encoding) -> None:
    template = CHAT_TEMPLATE.replace("<|end|>{% endgeneration %}", "{% endgeneration %}<|end|>")
    assert codes(encode(tmp_path, with_template(template), encoding, TALK)) == ["T304"]
    endless = tiny_tokenizer()
    endless.eos_token = None
    assert codes(encode(tmp_path, endless, encoding, {"text": "a"})) == ["T304"]


def test_ids_that_differ_at_serving_are_found(tmp_path: Path, encoding: Encoding) -> None:
    merging = WITHOUT_MARKS.replace(
        "<|{{ message['role'] }}|>", "{{ message['role'] }}: th"
    ).replace("<|assistant|>{% endif %}", "assistant: th{% endif %}")
    encoded = encode(tmp_path, with_template(merging), encoding, chat("a", "e quick"))
    assert codes(encoded) == ["T306"]
    assert "turn 2" in encoded.findings[0].message


def test_doubled_start_token_is_found(tmp_path: Path, encoding: Encoding) -> None:
    doubling = with_template(
        "{{ bos_token }}{{ bos_token }}" + CHAT_TEMPLATE, bos_token="<|start|>"
    )
    encoded = encode(tmp_path, doubling, encoding, TALK)
    assert codes(encoded) == ["T307"]
    assert encoded.findings[0].severity == "error"
    single = with_template("{{ bos_token }}" + CHAT_TEMPLATE, bos_token="<|start|>")
    assert codes(encode(tmp_path, single, encoding, TALK)) == []


def test_special_text_in_content_is_found(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, encoding: Encoding
) -> None:
    encoded = encode(tmp_path, tokenizer, encoding, chat("say <|end|>", "b"))
    assert [(f.code, f.path) for f in encoded.findings] == [("T308", "/messages/0/content")]


def test_long_row_is_truncated_or_refused(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, encoding: Encoding
) -> None:
    (whole,) = encode(tmp_path, tokenizer, encoding, TALK).examples
    limit = whole.num_tokens - 3

    cut = encode(tmp_path, tokenizer, replace(encoding, max_tokens=limit), TALK)
    assert codes(cut) == ["L401"]
    assert cut.findings[0].message == (
        f"row of {whole.num_tokens} tokens exceeds max_tokens {limit}: "
        "truncated, 3 trained tokens lost"
    )
    assert cut.examples[0].ids.tolist() == whole.ids[:limit].tolist()

    strict = replace(encoding, max_tokens=limit, truncate="error")
    refused = encode(tmp_path, tokenizer, strict, TALK)
    assert (codes(refused), refused.examples) == (["L402"], ())
    exact = replace(encoding, max_tokens=whole.num_tokens)
    assert codes(encode(tmp_path, tokenizer, exact, TALK)) == []


def test_preference_rows_are_refused(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, encoding: Encoding
) -> None:
    row: Mapping[str, object] = {"prompt": "a", "chosen": "b", "rejected": "c"}
    assert codes(encode(tmp_path, tokenizer, encoding, row)) == ["F103"]


def test_finding_quotes_the_rows_id(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, encoding: Encoding
) -> None:
    row = chat("a" * 20, "b", id="ticket-7")
    encoded = encode(tmp_path, tokenizer, replace(encoding, max_tokens=8), row)
    assert {f.excerpt for f in encoded.findings} == {"ticket-7"}
