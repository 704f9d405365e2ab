"""Sends a script to a server at its times, in a process of its own, and notes what comes back."""

import asyncio
import gc
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from pathlib import Path

from weft.client import Answer, AsyncClient, Sampling, Stopping, WeftError
from weft.protos.v1 import types_pb2

from .outcome import OK, Delivery, Outcome
from .script import Arrival, Call


@dataclass(frozen=True, slots=True)
class Target:
    """Where a script is sent.

    Attributes:
        base: Served name of the base.
        vocab_size: Of the base.
        api_keys: Of the tenants, in order; None where no key is asked for.
        folders: Of adapters that a script publishes, by name.
        prefix: Of adapters' names there.
    """

    address: str
    base: str
    vocab_size: int
    api_keys: tuple[str | None, ...]
    folders: Mapping[str, Path]
    prefix: str = ""


def play(
    target: Target, script: Sequence[Arrival], *, begins: float, ends_s: float
) -> list[Outcome]:
    """Send every call at its time; cut what has not ended at `ends_s`.

    Args:
        begins: By the monotonic clock, which all processes of a machine share.
        ends_s: Seconds after `begins`.
    """
    gc.collect()
    gc.disable()  # a collection would be lateness
    try:
        return asyncio.run(_play(target, script, begins, ends_s))
    finally:
        gc.enable()


async def _play(
    target: Target, script: Sequence[Arrival], begins: float, ends_s: float
) -> list[Outcome]:
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(AsyncClient(target.address, api_key=key))
            for key in target.api_keys
        ]
        player = Player(target, clients, begins)
        tasks = [asyncio.create_task(player.send(arrival)) for arrival in script]
        if tasks:
            timeout_s = begins + ends_s - time.monotonic()
            done, late = await asyncio.wait(tasks, timeout=max(0.0, timeout_s))
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
            for task in done:
                task.result()
        return player.outcomes


class Player:
    """Sends calls and keeps their outcomes."""

    def __init__(self, target: Target, clients: Sequence[AsyncClient], begins: float) -> None:
        self.outcomes: list[Outcome] = []
        self._target = target
        self._clients = clients
        self._begins = begins

    async def send(self, arrival: Arrival) -> None:
        """Wait for the arrival's time, then send its call and what follows from it."""
        await asyncio.sleep(max(0.0, arrival.at_s - self._now()))
        call = arrival.call
        if arrival.publishes is not None:
            folder = self._target.folders[arrival.publishes]
            name = self._target.prefix + arrival.publishes
            await self._client(call).publish(name, folder)
            await self._send(call, call.tokens, due_s=self._now())
        else:
            await self._send(call, call.tokens, due_s=arrival.at_s)

    async def _send(self, call: Call, tokens: Sequence[int], *, due_s: float) -> None:
        model = None if call.model is None else self._target.prefix + call.model
        outcome = Outcome(call.group, call.tenant, model, due_s, len(tokens), call.new_tokens)
        self.outcomes.append(outcome)
        answer = Answer()
        try:
            await self._stream(call, tokens, outcome, answer)
        except WeftError as error:
            outcome.code = error.reason
        if call.then and outcome.code == OK:
            context = [*tokens, *answer.completions[0].token_ids]
            now = self._now()
            await asyncio.gather(
                *(self._send(c, [*context, *c.tokens], due_s=now) for c in call.then)
            )

    async def _stream(
        self, call: Call, tokens: Iterable[int], outcome: Outcome, answer: Answer
    ) -> None:
        chunks = self._client(call).generate(
            outcome.model or self._target.base,
            answer=answer,
            tokens=tokens,
            sampling=Sampling(temperature=0),
            stopping=Stopping(max_tokens=call.new_tokens, ignore_end_token=True),
            flush_ms=0,
        )
        outcome.sent_s = self._now()
        async with aclosing(chunks):
            async for chunk in chunks:
                if chunk.token_ids:
                    outcome.deliveries.append(Delivery(self._now(), len(chunk.token_ids)))
        outcome.ended_s = self._now()
        self._conclude(outcome, answer)

    def _conclude(self, outcome: Outcome, answer: Answer) -> None:
        usage, resolved = answer.usage, answer.resolved
        if usage is None or resolved is None:
            outcome.code = "INCOMPLETE"
            return
        outcome.code, outcome.resolved = OK, resolved.adapter
        outcome.cached_tokens = usage.cached_tokens
        outcome.load_ms, outcome.queue_ms = usage.load_ms, usage.queue_ms
        if usage.tier:
            outcome.tier = types_pb2.Tier.Name(usage.tier).removeprefix("TIER_").lower()

    def _client(self, call: Call) -> AsyncClient:
        """The tenant's; where keys are too few, tenants share one."""
        return self._clients[call.tenant % len(self._clients)]

    def _now(self) -> float:
        return time.monotonic() - self._begins
