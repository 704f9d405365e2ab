"""A `weft serve` that runs already, asked over gRPC."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count

from weft.bench.checks import ALTERNATIVES
from weft.bench.contest import Timing
from weft.bench.driver import Answer
from weft.bench.errors import PeerFailed
from weft.bench.loras import Lora
from weft.client import Client, Sampling, Stopping, WeftError
from weft.client.generation import Completion
from weft.server.channel import TokenLogprobs

from .peer import WEFT_GRPC, rotate


class WeftGrpc:
    """Publishes the adapters there under their own names, and sends every row as a request.

    Whoever makes it closes it.

    Raises:
        PeerFailed: Nobody answers, or an adapter is refused.
    """

    def __init__(self, address: str, loras: Sequence[Lora]) -> None:
        self._client = Client(address)
        self._names: dict[str | None, str] = {lora.digest: lora.name for lora in loras}
        self._runs = count(1)
        self.versions: dict[str, str] = {}
        try:
            self._names[None] = self._client.models()[0].model
            for lora in loras:
                self._client.publish(lora.name, lora.files, assert_base=True)
        except WeftError as error:
            self.close()
            raise PeerFailed(f"{WEFT_GRPC}: {address}: {error}") from error

    def answer(
        self, prompts: Sequence[list[int]], digests: Sequence[str | None], *, new_tokens: int
    ) -> list[Answer]:
        """Greedy tokens of every row, with log-probabilities."""
        found = self._complete(prompts, digests, new_tokens, {"logprobs": ALTERNATIVES})
        return list(map(_read_answer, found))

    def time(
        self, prompts: Sequence[list[int]], digests: Sequence[str | None], *, new_tokens: int
    ) -> Timing:
        """Run a batch once; gRPC counts."""
        prompts = rotate(prompts, next(self._runs))
        began = time.perf_counter()
        self._complete(prompts, digests, new_tokens, {})
        return Timing(rate=len(prompts) * new_tokens / (time.perf_counter() - began))

    def close(self) -> None:
        self._client.close()

    def _complete(
        self,
        prompts: Sequence[list[int]],
        digests: Sequence[str | None],
        new_tokens: int,
        options: dict[str, int],
    ) -> list[Completion]:
        def ask(prompt: list[int], digest: str | None) -> Completion:
            answer = self._client.complete(
                self._names[digest],
                tokens=prompt,
                sampling=Sampling(temperature=0),
                stopping=Stopping(max_tokens=new_tokens, ignore_end_token=True),
                **options,  # type: ignore[arg-type]
            )
            return answer.completions[0]

        try:
            with ThreadPoolExecutor(len(prompts)) as pool:
                return list(pool.map(ask, prompts, digests))
        except WeftError as error:
            raise PeerFailed(f"{WEFT_GRPC}: {error}") from error


def _read_answer(completion: Completion) -> Answer:
    return Answer(
        list(completion.token_ids),
        [
            TokenLogprobs(
                entry.chosen.logprob,
                [other.token_id for other in entry.alternatives],
                [other.logprob for other in entry.alternatives],
            )
            for entry in completion.logprobs
        ],
    )
