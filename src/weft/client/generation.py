"""Building a request to generate, and collecting its answer."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypedDict, Unpack

from weft.protos.v1.inference_pb2 import (
    ChatMessage,
    ChatPrompt,
    Chunk,
    Constraint,
    EarlyStopping,
    Finished,
    GenerateRequest,
    GenerateResponse,
    Sampling,
    Stopping,
    TokenLogprobs,
    TokenPrompt,
    Usage,
)
from weft.protos.v1.types_pb2 import Priority, ResolvedAdapter


def system(content: str) -> ChatMessage:
    return ChatMessage(role="system", content=content)


def user(content: str) -> ChatMessage:
    return ChatMessage(role="user", content=content)


def assistant(content: str) -> ChatMessage:
    return ChatMessage(role="assistant", content=content)


class GenerateOptions(TypedDict, total=False):
    """What a request may say beside its model and its prompt."""

    sampling: Sampling
    stopping: Stopping
    constraint: Constraint
    n: int
    num_beams: int
    length_penalty: float
    early_stopping: EarlyStopping
    logprobs: int
    prompt_logprobs: int
    priority: Priority
    flush_ms: int
    request_id: str


class PromptOptions(GenerateOptions, total=False):
    """One of `text`, `chat` and `tokens`, and the other options."""

    text: str
    chat: Iterable[ChatMessage]
    tokens: Iterable[int]


def generate_request(
    model: str,
    *,
    text: str | None = None,
    chat: Iterable[ChatMessage] | None = None,
    tokens: Iterable[int] | None = None,
    **options: Unpack[GenerateOptions],
) -> GenerateRequest:
    """Build a request; raise ValueError unless it has exactly one prompt."""
    num_prompts = sum(prompt is not None for prompt in (text, chat, tokens))
    if num_prompts != 1:
        raise ValueError(f"{num_prompts} prompts; give one of text, chat and tokens")
    return GenerateRequest(
        model=model,
        text=text,
        chat=None if chat is None else ChatPrompt(messages=chat),
        tokens=None if tokens is None else TokenPrompt(ids=tokens),
        **options,
    )


@dataclass(slots=True)
class Completion:
    """One completion, as far as it has come; `finished` is None until it has ended."""

    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    prompt_logprobs: list[TokenLogprobs] = field(default_factory=list)
    finished: Finished | None = None


@dataclass(slots=True)
class Answer:
    """All that a request has answered so far; whole once `usage` is there."""

    resolved: ResolvedAdapter | None = None
    completions: dict[int, Completion] = field(default_factory=dict)
    usage: Usage | None = None

    @property
    def text(self) -> str:
        """Text of the first completion."""
        return self._completion(0).text

    def add(self, response: GenerateResponse) -> Chunk | None:
        """Take in one message of the stream, and answer its chunk if it brings one."""
        match response.WhichOneof("event"):
            case "resolved":
                self.resolved = response.resolved
            case "finished":
                self._completion(response.finished.index).finished = response.finished
            case "usage":
                self.usage = response.usage
            case "chunk":
                completion = self._completion(response.chunk.index)
                completion.text += response.chunk.text
                completion.token_ids.extend(response.chunk.token_ids)
                completion.logprobs.extend(response.chunk.logprobs)
                completion.prompt_logprobs.extend(response.chunk.prompt_logprobs)
                return response.chunk
        return None

    def _completion(self, index: int) -> Completion:
        return self.completions.setdefault(index, Completion())
