"""A server that speaks OpenAI's completions over HTTP, and names adapters as models."""

import json
import re
import time
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import TypedDict, cast
from urllib.error import URLError

from weft.bench.checks import ALTERNATIVES
from weft.bench.contest import Timing
from weft.bench.driver import Answer
from weft.bench.errors import PeerFailed
from weft.bench.loras import Lora
from weft.server.channel import TokenLogprobs

from .peer import rotate

NAME = "openai"
ANSWER_S = 300.0
TOKEN = re.compile(r"\s*(?:token_id:|t)(\d+)")
"""A token as vLLM writes it when asked for its number, or as the exported tokenizer does."""


class Logprobs(TypedDict):
    """OpenAI's: a list entry for every token."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]


class OpenAi:
    """Sends every row as a request of its own, all at once.

    Raises:
        PeerFailed: Nobody answers, or the server lacks a model.
    """

    def __init__(self, url: str, model: str, loras: Sequence[Lora]) -> None:
        """Ask what is served.

        Args:
            url: Up to and with `/v1`.
            model: What the server calls the base; adapters have their own names.
        """
        self._url = url.rstrip("/")
        self._names: dict[str | None, str] = {lora.digest: lora.name for lora in loras}
        self._names[None] = model
        self._runs = count(1)
        served = cast(list[dict[str, str]], self._ask("models", None)["data"])
        if missing := set(self._names.values()) - {entry["id"] for entry in served}:
            raise PeerFailed(f"{NAME}: {self._url} has no model {', '.join(sorted(missing))}")
        self.versions = {NAME: served[0].get("owned_by", "unknown")}

    def answer(
        self, prompts: Sequence[list[int]], digests: Sequence[str | None], *, new_tokens: int
    ) -> list[Answer]:
        """Greedy tokens of every row, with log-probabilities."""
        choices = self._complete(prompts, digests, new_tokens, ALTERNATIVES)
        return [_read_answer(cast(Logprobs, choice["logprobs"])) for choice in choices]

    def time(
        self, prompts: Sequence[list[int]], digests: Sequence[str | None], *, new_tokens: int
    ) -> Timing:
        """Run a batch once; HTTP counts."""
        prompts = rotate(prompts, next(self._runs))
        began = time.perf_counter()
        self._complete(prompts, digests, new_tokens, None)
        return Timing(rate=len(prompts) * new_tokens / (time.perf_counter() - began))

    def _complete(
        self,
        prompts: Sequence[list[int]],
        digests: Sequence[str | None],
        new_tokens: int,
        logprobs: int | None,
    ) -> list[dict[str, object]]:
        """The choices, after all have come at their full length."""

        def ask(prompt: list[int], digest: str | None) -> dict[str, object]:
            request = {
                "model": self._names[digest],
                "prompt": prompt,
                "max_tokens": new_tokens,
                "temperature": 0,
                "ignore_eos": True,
                "logprobs": logprobs,
                "return_tokens_as_token_ids": logprobs is not None,
            }
            answer = self._ask("completions", request)
            drawn = cast(dict[str, int], answer["usage"])["completion_tokens"]
            if drawn != new_tokens:
                raise PeerFailed(f"{NAME}: {drawn} tokens in place of {new_tokens}")
            return cast(list[dict[str, object]], answer["choices"])[0]

        with ThreadPoolExecutor(len(prompts)) as pool:
            return list(pool.map(ask, prompts, digests))

    def _ask(self, path: str, body: Mapping[str, object] | None) -> dict[str, object]:
        request = urllib.request.Request(
            f"{self._url}/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_S) as response:
                answer: dict[str, object] = json.load(response)
        except (URLError, TimeoutError, ValueError) as error:
            raise PeerFailed(f"{NAME}: {request.full_url}: {error}") from error
        return answer


def _read_answer(logprobs: Logprobs) -> Answer:
    tokens = [_read_token(token) for token in logprobs["tokens"]]
    steps = zip(logprobs["token_logprobs"], logprobs["top_logprobs"], strict=True)
    return Answer(
        tokens,
        [
            TokenLogprobs(chosen, [_read_token(token) for token in top], list(top.values()))
            for chosen, top in steps
        ],
    )


def _read_token(text: str) -> int:
    found = TOKEN.fullmatch(text)
    if found is None:
        raise PeerFailed(f"{NAME}: token {text!r} is neither a number nor of the bench's tokenizer")
    return int(found[1])
