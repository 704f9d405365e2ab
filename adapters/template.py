"""Rows to tokens: chat template, loss mask, truncation, and the findings T301-T308, L401-L402.

A mask trains the assistant's turns with their end-of-turn token. Where the template marks
generations, its marks decide; else a turn is what its rendering adds to the rendering of the turns
before it with the generation prompt. Either way those ids must be a prefix of the row's, because
they are what serving will have in its cache.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import jinja2
import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from .conversation import Message
from .dataset import Format, Row
from .findings import Finding, Severity, cut_excerpt

GENERATION_MARK = re.compile(r"\{%-?\s*generation\s*-?%\}")
TEMPLATE_ERRORS = (jinja2.TemplateError, TypeError, ValueError, KeyError, IndexError)


@dataclass(frozen=True, slots=True)
class Encoding:
    """How rows become tokens.

    Attributes:
        max_tokens: Longest row.
        truncate: What happens to a longer one.
        drop_masked: Leave out rows without a trained token instead of refusing them.
        train_all: Loss on every token, not on the assistant's turns only.
        end_ids: Tokens that end a turn when the model is served.
    """

    max_tokens: int
    end_ids: frozenset[int]
    truncate: Literal["end", "error"] = "end"
    drop_masked: bool = False
    train_all: bool = False


@dataclass(frozen=True, slots=True)
class Example:
    """The tokens of one row, and which of them are trained.

    Attributes:
        row: The row's number in its file.
        ids: int64, [tokens].
        trained: bool, [tokens]; the first is never trained, since nothing predicts it.
    """

    row: int
    ids: NDArray[np.int64]
    trained: NDArray[np.bool_]

    @property
    def num_tokens(self) -> int:
        return len(self.ids)

    @property
    def num_trained(self) -> int:
        return int(self.trained.sum())


@dataclass(frozen=True, slots=True)
class Encoded:
    """Examples in the order of the rows, what was found, and rows left out by `drop_masked`."""

    examples: tuple[Example, ...]
    findings: tuple[Finding, ...]
    skipped_rows: int


class RowProblem(Exception):
    """A row that gives no example."""

    def __init__(self, code: str, message: str, suggestion: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.suggestion = suggestion


@dataclass(frozen=True, slots=True)
class Turn:
    """A trained assistant turn: its index, and the renderings up to its start and its end."""

    index: int
    prompt: str
    whole: str


def encode_rows(
    rows: Iterable[Row], tokenizer: PreTrainedTokenizerBase, encoding: Encoding
) -> Encoded:
    """Tokenise and mask every row; problems become findings, none is raised."""
    examples: list[Example] = []
    findings: list[Finding] = []
    skipped = 0
    for row in rows:
        try:
            drafts, warnings = encode_row(row, tokenizer, encoding)
        except RowProblem as problem:
            findings.append(
                report(row, problem.code, problem.message, problem.suggestion, Severity.ERROR)
            )
            continue
        findings += warnings
        for draft in drafts:
            kept, found = fit(row, draft, encoding)
            findings += found
            if kept is not None:
                examples.append(kept)
            elif not found:
                skipped += 1
    return Encoded(tuple(examples), tuple(findings), skipped)


def encode_row(
    row: Row, tokenizer: PreTrainedTokenizerBase, encoding: Encoding
) -> tuple[list[Example], list[Finding]]:
    """Tokenise one row, into one example or, of a conversation, one per turn."""
    if row.format is Format.CHAT:
        examples, findings = encode_chat(row, tokenizer, encoding)
    elif row.format is Format.PREFERENCE:
        raise RowProblem("F103", "preference rows are for dpo", "use completion or chat rows")
    else:
        examples, findings = [encode_text(row, tokenizer, encoding)], []
    if any(starts_twice(example, tokenizer) for example in examples):
        suggestion = "the template or the tokenizer adds it; remove it from the row"
        findings.append(report(row, "T307", "the start token is doubled", suggestion))
    return examples, findings


def encode_text(row: Row, tokenizer: PreTrainedTokenizerBase, encoding: Encoding) -> Example:
    """Tokenise a text or completion row; the end token is added and trained."""
    end_id = tokenizer.eos_token_id
    if not isinstance(end_id, int):
        suggestion = "use a tokenizer with an end token"
        raise RowProblem("T304", "the tokenizer has no end token to train", suggestion)
    if row.format is Format.TEXT:
        prompt, answer = [], tokenise(tokenizer, row.text, add_special_tokens=True)
    else:
        prompt = tokenise(tokenizer, row.prompt, add_special_tokens=True)
        answer = tokenise(tokenizer, row.text)
    if not answer or answer[-1] != end_id:
        answer = [*answer, end_id]
    trained = [encoding.train_all] * len(prompt) + [bool(row.text)] * len(answer)
    return make_example(row, prompt + answer, trained)


def encode_chat(
    row: Row, tokenizer: PreTrainedTokenizerBase, encoding: Encoding
) -> tuple[list[Example], list[Finding]]:
    """Render, tokenise and mask a conversation up to its last assistant turn."""
    if tokenizer.chat_template is None:
        raise RowProblem("T301", "the base has no chat template", "give the job a template")
    last = max(i for i, m in enumerate(row.messages) if m.role == "assistant")
    messages = row.messages[: last + 1]
    findings = find_special_text(row, tokenizer)
    turns = [
        Turn(
            i,
            render(tokenizer, row, messages[:i], prompt=True) if i > 0 else "",
            render(tokenizer, row, messages[: i + 1]),
        )
        for i, message in enumerate(messages)
        if message.role == "assistant" and message.weight == 1
    ]
    whole = render(tokenizer, row, messages)
    for turn in turns:
        check_turn(turn, tokenizer)
    if all(whole.startswith(turn.whole) for turn in turns):
        return [mask_turns(row, messages, turns, tokenizer, encoding)], findings
    examples = [
        mask_turns(row, messages[: turn.index + 1], [turn], tokenizer, encoding) for turn in turns
    ]
    growth = sum(e.num_tokens for e in examples) - len(tokenise(tokenizer, whole))
    message = f"rendering is not prefix-preserving: turns trained one by one, {growth} tokens more"
    findings.append(report(row, "T305", message, "none needed"))
    return examples, findings


def check_turn(turn: Turn, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a turn whose start cannot be told from its rendering."""
    if not turn.whole.startswith(turn.prompt):
        message = f"turn {turn.index + 1}: the prompt is no prefix of the rendered turn"
        raise RowProblem("T302", message, "use a template with generation marks")
    if turn.index == 0 and not marks_generations(tokenizer):
        message = "the conversation starts with the assistant, and the template has no marks"
        raise RowProblem("T302", message, "use a template with generation marks")


def mask_turns(
    row: Row,
    messages: Sequence[Message],
    turns: Sequence[Turn],
    tokenizer: PreTrainedTokenizerBase,
    encoding: Encoding,
) -> Example:
    """Tokenise the rendering of `messages` with the loss on `turns`."""
    ids = tokenise(tokenizer, render(tokenizer, row, messages))
    if encoding.train_all:
        return make_example(row, ids, [True] * len(ids))
    marks = read_marks(tokenizer, row, messages, len(ids))
    trained = [False] * len(ids)
    for turn in turns:
        start, end = (len(prefix) for prefix in serve_ids(turn, tokenizer, ids))
        trained[start:end] = marks[start:end]
        if not any(trained[start:end]):
            message = f"turn {turn.index + 1}: the template's marks leave it out of the loss"
            raise RowProblem("T302", message, "mark every assistant turn in the template")
        if not any(trained[at] and ids[at] in encoding.end_ids for at in range(start, end)):
            message = f"turn {turn.index + 1}: no end-of-turn token is in the loss"
            suggestion = "the model would not stop: fix the template"
            raise RowProblem("T304", message, suggestion)
    return make_example(row, ids, trained)


def serve_ids(
    turn: Turn, tokenizer: PreTrainedTokenizerBase, ids: list[int]
) -> tuple[list[int], list[int]]:
    """Tokenise the turn's prompt and its end as serving does; both must be prefixes of `ids`."""
    prompt = tokenise(tokenizer, turn.prompt) if turn.prompt else []
    whole = tokenise(tokenizer, turn.whole)
    for prefix in (prompt, whole):
        if ids[: len(prefix)] != prefix:
            message = f"turn {turn.index + 1}: ids at serving and in training differ"
            raise RowProblem("T306", message, "the template adds or trims white space: fix it")
    return prompt, whole


def marks_generations(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Say whether the template marks generations and the tokenizer can place the marks."""
    return tokenizer.is_fast and GENERATION_MARK.search(template_text(tokenizer)) is not None


def template_text(tokenizer: PreTrainedTokenizerBase) -> str:
    """The text of the chat template that conversations without tools use."""
    return str(tokenizer.get_chat_template())


def read_marks(
    tokenizer: PreTrainedTokenizerBase, row: Row, messages: Sequence[Message], num_tokens: int
) -> list[bool]:
    """The template's own marks, one per token; all True for a template without marks."""
    if not marks_generations(tokenizer):
        return [True] * num_tokens
    marked = tokenizer.apply_chat_template(
        plain(messages),
        tools=[dict(tool) for tool in row.tools] or None,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    marks = [bool(mark) for mark in marked["assistant_masks"]]  # type: ignore[index, call-overload]
    assert len(marks) == num_tokens
    return marks


def render(
    tokenizer: PreTrainedTokenizerBase,
    row: Row,
    messages: Sequence[Message],
    *,
    prompt: bool = False,
) -> str:
    """Render turns through the chat template, with the generation prompt if `prompt`."""
    try:
        text = tokenizer.apply_chat_template(
            plain(messages),
            tools=[dict(tool) for tool in row.tools] or None,
            tokenize=False,
            add_generation_prompt=prompt,
        )
    except TEMPLATE_ERRORS as err:
        message = f"the template fails{template_line(err)}: {err}"
        raise RowProblem("T301", message, "fix the row or the template") from err
    assert isinstance(text, str)
    return text


def plain(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Turns as the template reads them; transformers' type leaves tool calls out."""
    return [cast("dict[str, str]", dict(message.fields)) for message in messages]


def template_line(err: BaseException) -> str:
    """Say at which line of the template an error arose, where the traceback knows it."""
    if isinstance(err, jinja2.TemplateSyntaxError):
        return f" at its line {err.lineno}"
    lines = []
    trace = err.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return f" at its line {lines[-1]}" if lines else ""


def tokenise(
    tokenizer: PreTrainedTokenizerBase, text: str, *, add_special_tokens: bool = False
) -> list[int]:
    """The ids of a text."""
    return list(tokenizer(text, add_special_tokens=add_special_tokens, verbose=False)["input_ids"])


def find_special_text(row: Row, tokenizer: PreTrainedTokenizerBase) -> list[Finding]:
    """T308: content that the tokenizer would read as control tokens."""
    special = [t.content for t in tokenizer.added_tokens_decoder.values() if t.special]
    return [
        report(
            row,
            "T308",
            f"special-token text {text!r} inside {message.role} content",
            "escape it",
            path=f"/messages/{i}/content",
        )
        for i, message in enumerate(row.messages)
        for text in special
        if text in (message.content or "")
    ]


def starts_twice(example: Example, tokenizer: PreTrainedTokenizerBase) -> bool:
    start = tokenizer.bos_token_id
    return start is not None and example.ids[:2].tolist() == [start, start]


def make_example(row: Row, ids: Sequence[int], trained: Sequence[bool]) -> Example:
    mask = np.array(trained, dtype=bool)
    mask[:1] = False
    return Example(row.number, np.array(ids, dtype=np.int64), mask)


def fit(row: Row, draft: Example, encoding: Encoding) -> tuple[Example | None, list[Finding]]:
    """Truncate an example; None when it must be refused (with findings) or is left out."""
    limit = encoding.max_tokens
    found: list[Finding] = []
    kept = draft
    if draft.num_tokens > limit:
        message = f"row of {draft.num_tokens} tokens exceeds max_tokens {limit}"
        if encoding.truncate == "error":
            return None, [report(row, "L402", message, "raise max_tokens", Severity.ERROR)]
        kept = Example(draft.row, draft.ids[:limit], draft.trained[:limit])
        lost = draft.num_trained - kept.num_trained
        message += f": truncated, {lost} trained tokens lost"
        found.append(report(row, "L401", message, "raise max_tokens, or split the row"))
    if kept.num_trained > 0:
        return kept, found
    if encoding.drop_masked:
        return None, []
    when = "after truncation" if draft.num_trained else "at all"
    message = f"row without any trained token {when}"
    suggestion = "raise max_tokens, or drop_masked to skip such rows"
    return None, [*found, report(row, "T303", message, suggestion, Severity.ERROR)]


def report(
    row: Row,
    code: str,
    message: str,
    suggestion: str,
    severity: Severity = Severity.WARNING,
    *,
    path: str = "",
) -> Finding:
    """Make a finding about a row."""
    if code == "T307":
        severity = Severity.ERROR
    name = row.id or row.answer
    return Finding(
        code, severity, message, suggestion, row.number, row.line, path, cut_excerpt(name)
    )


def draw_mask(example: Example, tokenizer: PreTrainedTokenizerBase) -> tuple[str, str]:
    """The row's text and, character for character, `^` under what is trained and `.` elsewhere."""
    bounds = np.flatnonzero(np.diff(example.trained)) + 1
    texts: list[str] = []
    marks: list[str] = []
    for ids, trained in zip(
        np.split(example.ids, bounds), np.split(example.trained, bounds), strict=True
    ):
        text = str(tokenizer.decode(ids.tolist())).replace("\n", "⏎")
        texts.append(text)
        marks.append(("^" if trained[0] else ".") * len(text))
    return "".join(texts), "".join(marks)
