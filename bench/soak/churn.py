"""What a soak does to a server: everything that a client may, at once and in random order."""

import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from weft.client import AsyncClient, Sampling, Stopping, WeftError
from weft.protos.v1.inference_pb2 import Chunk

from .reference import Question, answer_tokens, ask

T = TypeVar("T")

LONG = 200
COMPLETIONS = (1, 1, 1, 2, 3)
"""Of a prompt: those after the first wait for it, and share its blocks."""
DEADLINES_S = (0.005, 0.05, 0.3)
TOO_LATE = "DEADLINE_EXCEEDED"
TAKEN = "UPLOAD_TAKEN"
"""What the earlier of two writers of one content is told."""
SHARES = {"use": 0.62, "cancel": 0.14, "deadline": 0.14, "publish": 0.1}


@dataclass(frozen=True, slots=True)
class Material:
    """What there is to ask.

    Attributes:
        standing: Questions of adapters that stay, and of the base, by reference.
        passing: Questions of contents that are published and removed, by their folder.
    """

    standing: Mapping[str, Sequence[Question]]
    passing: Mapping[Path, Sequence[Question]]


@dataclass(slots=True)
class Tally:
    """What has been done, and what went wrong."""

    done: Counter[str] = field(default_factory=Counter)
    num_tokens: int = 0
    wrong: list[str] = field(default_factory=list)


class Client:
    """Does one thing after another until its time is over."""

    def __init__(
        self,
        weft: AsyncClient,
        impatient: Sequence[AsyncClient],
        material: Material,
        tally: Tally,
        *,
        name: str,
        seed: int,
    ) -> None:
        """Take what it does it with.

        Args:
            impatient: Clients whose calls have short deadlines.
            name: Of the adapter that it publishes versions of.
        """
        self._weft = weft
        self._impatient = impatient
        self._material = material
        self._tally = tally
        self._name = name
        self._draw = np.random.default_rng(seed)

    async def run(self, until: float) -> None:
        """Go on until the monotonic clock says `until`."""
        acts = {
            "use": self._use,
            "cancel": self._cancel,
            "deadline": self._let_pass,
            "publish": self._publish,
        }
        while time.monotonic() < until:
            kind = str(self._draw.choice(list(SHARES), p=list(SHARES.values())))
            try:
                await acts[kind]()
                self._tally.done[kind] += 1
            except WeftError as error:
                self._tally.wrong.append(f"{kind}: {error.reason}: {error}")

    async def _use(self) -> None:
        model = self._pick(list(self._material.standing))
        await self._check(model, self._pick(self._material.standing[model]))

    async def _check(self, model: str, question: Question) -> None:
        """Ask, and compare with what a single request was answered."""
        n = int(self._draw.choice(COMPLETIONS))
        answer = await ask(self._weft, model, question.tokens, len(question.answer), n=n)
        for index in range(n):
            tokens = answer_tokens(answer, index)
            self._tally.num_tokens += len(tokens)
            if tokens != question.answer:
                pairs = zip(tokens, question.answer, strict=True)
                first = next(i for i, (got, wanted) in enumerate(pairs) if got != wanted)
                self._tally.wrong.append(f"{model}: token {first} of {len(tokens)} differs")

    async def _cancel(self) -> None:
        """Leave a long answer after some tokens."""
        left = int(self._draw.integers(1, 40))
        async with aclosing(self._long_answer(self._weft)) as chunks:
            async for chunk in chunks:
                left -= len(chunk.token_ids)
                if left <= 0:
                    return

    async def _let_pass(self) -> None:
        """Ask for more than the deadline allows."""
        client = self._impatient[int(self._draw.integers(len(self._impatient)))]
        try:
            async with aclosing(self._long_answer(client)) as chunks:
                async for _ in chunks:
                    pass
        except WeftError as error:
            if error.reason != TOO_LATE:
                raise

    def _long_answer(self, client: AsyncClient) -> AsyncGenerator[Chunk, None]:
        model = self._pick(list(self._material.standing))
        question = self._pick(self._material.standing[model])
        return client.generate(
            model,
            tokens=question.tokens,
            sampling=Sampling(temperature=1, seed=int(self._draw.integers(1 << 31))),
            stopping=Stopping(max_tokens=LONG, ignore_end_token=True),
        )

    def _pick(self, choices: Sequence[T]) -> T:
        return choices[int(self._draw.integers(len(choices)))]

    async def _publish(self) -> None:
        """Publish a version, use it, and remove it."""
        folder = self._pick(list(self._material.passing))
        try:
            version = await self._weft.publish(self._name, folder, latest=False)
        except WeftError as error:
            if error.reason != TAKEN:
                raise
            return
        reference = f"{self._name}@{version.version}"
        for question in self._material.passing[folder]:
            await self._check(reference, question)
        await self._weft.retire(reference)
        await self._weft.delete(reference)
