"""Whole answers to requests that can have but one: greedy, or with a seed of their own.

Off unless it is given room. The key is everything that decides an answer, the adapter's digest and
the tenant among it, so it never answers for other weights, nor for somebody else's request.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

import msgspec
from msgspec import structs

from weft.protos.v1.inference_pb2 import GenerateResponse
from weft.server import metrics
from weft.server.channel import Priority, Submit

from .requests import Plan

Answer = tuple[GenerateResponse, ...]


class ResponseCache:
    """Keeps answers within `max_bytes`; whose last use is longest ago goes first."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._num_bytes = 0
        self._answers: OrderedDict[bytes, Answer] = OrderedDict()

    def key_of(self, plan: Plan, request: Submit) -> bytes | None:
        """The key of a request, given its first completion's; None if it cannot be kept."""
        if not self._max_bytes or not plan.is_deterministic:
            return None
        sampling = request.sampling
        if sampling.temperature == 0:
            sampling = structs.replace(sampling, seed=0)  # which nothing reads
        message = structs.replace(
            request,
            stream=0,
            deadline=None,
            priority=Priority.NORMAL,
            sampling=sampling,
            stop_tokens=frozenset(),  # of no certain order
        )
        parts = (message, sorted(request.stop_tokens), plan.n, plan.stop, plan.include_stop)
        return hashlib.sha256(msgspec.msgpack.encode(parts)).digest()

    def find(self, key: bytes | None) -> Answer | None:
        """The answer that was kept, if there is one."""
        if key is None:
            return None
        answer = self._answers.get(key)
        metrics.RESPONSE_CACHE.labels("miss" if answer is None else "hit").inc()
        if answer is not None:
            self._answers.move_to_end(key)
        return answer

    def keep(self, key: bytes | None, answer: Sequence[GenerateResponse]) -> None:
        """Keep a whole answer, from its first chunk to its usage."""
        size = _bytes_of(answer)
        if key is None or key in self._answers or size > self._max_bytes:
            return
        self._answers[key] = tuple(answer)
        self._num_bytes += size
        while self._num_bytes > self._max_bytes:
            _, gone = self._answers.popitem(last=False)
            self._num_bytes -= _bytes_of(gone)


def _bytes_of(answer: Sequence[GenerateResponse]) -> int:
    return sum(response.ByteSize() for response in answer)
