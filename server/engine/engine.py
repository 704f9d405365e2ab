"""The engine: owner of the model, the KV cache, the arena and the queues. No asyncio, no sockets.

A step: take what was loaded, plan, lay the batch out, run the model, draw, tell the fronts.
"""

import logging
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from weft.adapters.sites import BaseFacts
from weft.kernels import Arena
from weft.kernels.tune import tuned_tiles
from weft.server.channel import (
    BUILD,
    Abort,
    EngineMessage,
    Failed,
    FrontMessage,
    Hello,
    Locate,
    Located,
    Need,
    Probe,
    PromptLogprobs,
    Ready,
    Stats,
    Submit,
    Tokens,
    Unpin,
    Unready,
    Warm,
    Welcome,
)
from weft.server.config import EngineConfig
from weft.server.errors import (
    DeadlineExceeded,
    PromptTooLong,
    QueueFull,
    RequestInvalid,
    ServerError,
)
from weft.server.model.adapt import kernel_sites
from weft.server.model.kv_cache import KVCache
from weft.server.model.loader import LoadedModel

from .batch import build_batch
from .budgets import make_budgets
from .constraint import Constraint, Grammars
from .errands import Errands
from .figures import Figures
from .graphs import DecodeGraphs, capture_decodes, cuda_capture
from .kv_cache import BlockAllocator
from .ledger import Ledger
from .loader import Broken
from .loads import Loads
from .lookup import Speculation
from .order import make_order
from .pace import Pace
from .places import Place
from .plan import Plan
from .price_probe import measure_prices
from .probing import Probing
from .residency import Residency
from .row import rows_of
from .sampler import Drawn, describe, draw
from .scheduler import Scheduler
from .sequence import Sequence, State
from .step_time import StepTime
from .window import make_window

logger = logging.getLogger(__name__)

Send = Callable[[bytes, EngineMessage], bool]
REFUSALS: dict[type[ServerError], str] = {
    RequestInvalid: "REQUEST_INVALID",
    PromptTooLong: "PROMPT_TOO_LONG",
    QueueFull: "QUEUE_FULL",
    DeadlineExceeded: "DEADLINE_EXCEEDED",
}


class Follower(NamedTuple):
    """A request that waits for another one's first token."""

    request: Submit
    arrival: int
    since: float
    constraint: Constraint | None


class Engine:
    """Runs sequences for fronts, step by step; one thread uses it.

    `send` hands a message to a front and answers False if that front is gone.
    """

    def __init__(
        self,
        model: LoadedModel,
        facts: BaseFacts,
        config: EngineConfig,
        *,
        send: Send,
        folder: Path | None = None,
    ) -> None:
        """Lay the engine out.

        Args:
            folder: Of the checkpoint, whose tokenizer constraints need.
        """
        sites = kernel_sites(facts).values()
        tiles = tuned_tiles(sites, dtype=model.dtype, device=model.device)
        budgets = make_budgets(config, model)
        self.budgets = budgets
        self._model = model
        self._facts = facts
        self._send = send
        self.cache = KVCache(
            model.layers,
            num_blocks=budgets.num_blocks + 1,  # the last one is nobody's: graphs pad with it
            block_tokens=budgets.block_tokens,
            dtype=model.dtype,
            device=model.device,
        )
        self.arena = Arena(
            budgets.arena_elements,
            num_slots=budgets.num_slots,
            num_slices=facts.num_slices,
            dtype=model.dtype,
            device=model.device,
            max_rank=budgets.max_rank,
            tiles=tiles,
        )
        self._graphs = self._capture() if config.graphs and model.device.type == "cuda" else None
        self.blocks = BlockAllocator(budgets.num_blocks)
        self.residency = Residency(
            budgets.arena_elements,
            host_elements=budgets.host_elements,
            num_slots=budgets.num_slots,
            element_bytes=model.dtype.itemsize,
        )
        prices = measure_prices(model)
        self._step_time = StepTime(prices)
        self._speculation = Speculation(
            config.speculate or 0, self._step_time, block_tokens=budgets.block_tokens
        )
        self.scheduler = Scheduler(
            budgets.limits,
            self.blocks,
            self.residency,
            order=make_order(config.scheduling, Ledger(prices, self.residency)),
            window=make_window(config.scheduling, tokens=budgets.limits.max_batch_tokens),
            pace=Pace(budgets.limits, self._step_time, block_tokens=budgets.block_tokens),
            block_tokens=budgets.block_tokens,
            base_digest=facts.digest,
            precision=facts.precision,
        )
        self._figures = Figures(element_bytes=model.dtype.itemsize)
        self._loads = Loads(
            facts,
            self.arena,
            self.residency,
            ask=self._ask,
            park=self.scheduler.park,
            loaded=self._figures.count_load,
        )
        self._probing = Probing(
            model,
            facts,
            arena=self.arena,
            residency=self.residency,
            max_rank=budgets.max_rank,
            answer=self._tell,
        )
        self._grammars = Grammars(folder, vocab_size=facts.vocab_size)
        self._followers: dict[tuple[bytes, int], list[Follower]] = {}
        self._errands = Errands(self.residency, answer=self._tell)
        self._sequences: dict[tuple[bytes, int], Sequence] = {}
        self._arrivals = count()
        self._lost: set[bytes] = set()
        self._checked = False

    def step(self) -> bool:
        """Run one step; False if there was nothing to run."""
        started = time.monotonic()
        self._take_loads()
        self._errands.step()
        self._take_grammars()
        self._drop_late(started)
        self._loads.order(started)
        plan = self._speculation.extend(self.scheduler.plan(started))
        if not plan.chunks:
            return self._probing.step() or self._rest()
        kind = plan.kind
        try:
            drawn = self._run(plan)
        except torch.AcceleratorError:
            raise  # the device is lost to this process
        except Exception:
            logger.exception("a step of %d sequences failed", len(plan.chunks))
            for chunk in plan.chunks:
                self._fail(chunk.sequence, "STEP_FAILED", "the engine's step failed")
        else:
            self._deliver(plan, drawn)
            self._step_time.observe(plan.num_tokens, plan.kv_tokens, time.monotonic() - started)
        self._figures.count_step(plan, kind=kind, seconds=time.monotonic() - started)
        self._probing.step()
        return True

    def _run(self, plan: Plan) -> Drawn:
        """Run the model on the plan and draw for every sequence that is due."""
        if self._graphs is not None and self._graphs.takes(plan):
            logits_BV = self._graphs.run(plan)
        else:
            logits_BV = self._tell_prompts(plan, self._forward(plan))
        rows = [row for chunk in plan.chunks if chunk.draws for row in rows_of(chunk)]
        return draw(logits_BV, rows)

    def _tell_prompts(self, plan: Plan, logits_RV: Tensor) -> Tensor:
        """Tell log-probabilities of prompts; answer the logits that are left to draw from."""
        if not any(chunk.told for chunk in plan.chunks):
            return logits_RV
        drawn: list[int] = []
        at = 0
        for chunk in plan.chunks:
            sequence, told = chunk.sequence, chunk.told
            if told:
                tokens = sequence.tokens[told.start + 1 : told.stop + 1]
                num = sequence.request.prompt_logprobs
                assert num is not None
                entries = describe(logits_RV[at : at + len(told)], tokens, num=num)
                self._tell(sequence.peer, PromptLogprobs(sequence.request.stream, entries))
                sequence.num_told = told.stop
            at += len(told)
            if chunk.draws:
                num = 1 + len(chunk.drafts)
                drawn += range(at, at + num)
                at += num
        return logits_RV[drawn]

    def _forward(self, plan: Plan) -> Tensor:
        batch = build_batch(plan, block_tokens=self.budgets.block_tokens, device=self._model.device)
        return self._model.forward(batch, self.cache, self.arena)

    def _capture(self) -> DecodeGraphs | None:
        limits = self.budgets.limits
        return capture_decodes(
            self._model,
            self.cache,
            self.arena,
            max_rows=limits.max_sequences,
            max_blocks=-(-limits.max_context // self.budgets.block_tokens),
            capture=cuda_capture(self._model.device),
        )

    def _deliver(self, plan: Plan, drawn: Drawn) -> None:
        """Account for the step and tell every front its tokens, then its ends."""
        due = [chunk.sequence for chunk in plan.chunks if chunk.draws]
        kept = self._settle(plan, drawn)
        before = [sequence.num_generated for sequence in due]
        now = time.monotonic()
        tokens = [[drawn.tokens[row] for row in rows] for rows in kept]
        ended = self.scheduler.advance(plan, tokens, now=now)
        by_peer: dict[bytes, list[tuple[int, int]]] = {}
        for sequence, rows, num_before in zip(due, kept, before, strict=True):
            for row in rows[: sequence.num_generated - num_before]:
                by_peer.setdefault(sequence.peer, []).append((sequence.request.stream, row))
        for peer, told in by_peer.items():
            logprobs = [drawn.logprobs[row] for _, row in told]
            self._tell(
                peer,
                Tokens(
                    streams=[stream for stream, _ in told],
                    tokens=[drawn.tokens[row] for _, row in told],
                    logprobs=logprobs if any(logprobs) else [],
                ),
            )
        for sequence in due:
            if sequence.num_generated == 1:
                self._release(sequence.peer, sequence.request.stream)
        for sequence, reason in ended:
            del self._sequences[sequence.peer, sequence.request.stream]
            self._tell(sequence.peer, sequence.finished(reason, now))

    def _settle(self, plan: Plan, drawn: Drawn) -> list[range]:
        """The rows of every chunk that draws up to the first that its drafts miss; those that are
        not finite fail their sequence."""
        kept, at = [], 0
        for chunk in plan.chunks:
            if not chunk.draws:
                continue
            num_right = 0
            while chunk.drafts[num_right : num_right + 1] == (drawn.tokens[at + num_right],):
                num_right += 1
            rows = range(at, at + 1 + num_right)
            if not all(drawn.finite[row] for row in rows):
                self._fail_draw(chunk.sequence)
            elif chunk.drafts:
                self._speculation.learn(chunk, num_right)
            kept.append(rows)
            at += 1 + len(chunk.drafts)
        return kept

    def _fail_draw(self, sequence: Sequence) -> None:
        if sequence.constraint is None:
            self._fail(sequence, "STEP_FAILED", "the logits are not finite")
            return
        found = f"the constraint leaves no token after {sequence.num_generated}"
        self._fail(sequence, "REQUEST_INVALID", found, field="constraint")

    def receive(self, peer: bytes, message: FrontMessage) -> None:
        """Take one message of a front."""
        match message:
            case Hello():
                self._tell(peer, self.welcome())
            case Submit():
                self.submit(peer, message)
            case Abort():
                self.abort(peer, message.stream)
            case Ready():
                self.on_ready(message)
            case Unready():
                self.on_unready(message)
            case Probe():
                self._probing.add(peer, message)
            case Warm():
                self._errands.add(peer, message)
            case Unpin():
                self.residency.unpin(message.digest)
            case Locate():
                held = self.residency.held(time.monotonic())
                self._tell(peer, Located(message.call, held))

    def welcome(self) -> Welcome:
        """Introduce the engine."""
        return Welcome(
            build=BUILD,
            base_digest=self._facts.digest,
            max_context=self.budgets.limits.max_context,
            num_blocks=self.budgets.num_blocks,
            block_tokens=self.budgets.block_tokens,
        )

    def submit(self, peer: bytes, request: Submit) -> None:
        """Queue a sequence, or answer Failed if it can never run or the queue is full."""
        arrival, now = next(self._arrivals), time.monotonic()
        if request.grammar is None:
            self._enqueue(peer, request, arrival=arrival, now=now)
        else:
            self._grammars.hold(peer, request, arrival=arrival, now=now)

    def _take_grammars(self) -> None:
        """Queue the requests whose grammar is compiled."""
        for held in self._grammars.take():
            error = held.constraint.exception()
            if isinstance(error, RequestInvalid):
                self._refuse(held.peer, held.request, error)
            elif error is not None:
                logger.error("a grammar could not be compiled", exc_info=error)
                failed = Failed(held.request.stream, "INTERNAL", "the grammar was not compiled", {})
                self._tell(held.peer, failed)
            else:
                constraint = held.constraint.result()
                self._enqueue(
                    held.peer,
                    held.request,
                    arrival=held.arrival,
                    now=held.since,
                    constraint=constraint,
                )

    def _enqueue(
        self,
        peer: bytes,
        request: Submit,
        *,
        arrival: int,
        now: float,
        constraint: Constraint | None = None,
        is_promised: bool = False,
    ) -> None:
        """Queue a request, or have it follow the one whose first token it waits for."""
        leader = None if request.after is None else self._sequences.get((peer, request.after))
        try:
            if leader is not None and not leader.num_generated:
                self.scheduler.promise(request)
                follower = Follower(request, arrival, now, constraint)
                self._followers.setdefault((peer, leader.request.stream), []).append(follower)
                return
            sequence = self.scheduler.submit(
                peer, request, arrival=arrival, now=now, is_promised=is_promised
            )
        except (RequestInvalid, QueueFull, DeadlineExceeded) as error:
            self._refuse(peer, request, error)
            return
        sequence.constraint = constraint
        self._sequences[peer, request.stream] = sequence
        self._checked = False
        if sequence.tier:
            self._figures.count_lookup(sequence.tier)

    def _release(self, peer: bytes, stream: int) -> None:
        """Queue whoever waited for the first token of a stream."""
        for request, arrival, now, constraint in self._followers.pop((peer, stream), ()):
            self._enqueue(
                peer,
                request,
                arrival=arrival,
                now=now,
                constraint=constraint,
                is_promised=True,
            )

    def _refuse(self, peer: bytes, request: Submit, error: ServerError) -> None:
        reason = REFUSALS[type(error)]
        self._tell(peer, Failed(request.stream, reason, str(error), error.metadata))

    def abort(self, peer: bytes, stream: int) -> None:
        """End a sequence that is no longer wanted; one that has drawn tokens says what it took."""
        self._grammars.drop(peer, stream)
        for key, followers in self._followers.items():
            if key[0] == peer:
                followers[:] = [f for f in followers if f.request.stream != stream]
        sequence = self._drop(peer, stream)
        if sequence is not None and sequence.num_generated:
            self._tell(peer, sequence.finished("abort", time.monotonic()))

    def on_ready(self, message: Ready) -> None:
        """An image has come to the local disk."""
        self.residency.ready(message.digest, message.path)

    def on_unready(self, message: Unready) -> None:
        """An image could not be brought; another front may have brought it meanwhile."""
        if self.residency.place_of(message.digest) is Place.FETCHING:
            self.residency.fail(message.digest)
            self._fail_load(message.digest, message.reason, message.message)

    def stats(self) -> Stats:
        """Answer the figures since the last call."""
        return self._figures.take(self.scheduler, self.blocks, self.residency)

    @property
    def is_loading(self) -> bool:
        """Whether threads beside the steps have something in hand."""
        return self._loads.is_busy or self._probing.is_busy or self._grammars.is_busy

    def idle_s(self, longest_s: float) -> float:
        """How long nothing needs to be done unless a message comes."""
        opens_at = self.scheduler.opens_at
        if opens_at is None:
            return longest_s
        return min(longest_s, max(0.0, opens_at - time.monotonic()))

    def wait(self, timeout_s: float) -> None:
        """Return when a load has made progress, or after `timeout_s`."""
        self._loads.wait(timeout_s)

    def close(self) -> None:
        """End the threads beside the steps."""
        self._loads.close()
        self._probing.close()
        self._grammars.close()

    def check_integrity(self) -> None:
        """Assert that queues, blocks, slots and streams agree."""
        self.scheduler.check_integrity()
        live = [*self.scheduler.waiting, *self.scheduler.running]
        assert {id(s) for s in live} == {id(s) for s in self._sequences.values()}
        adapted = [sequence for sequence in live if sequence.digest is not None]
        num_pins = sum(sequence.state is State.RUNNING for sequence in adapted)
        assert self.residency.num_pins == num_pins
        num_waiting = (
            len(adapted) - num_pins + self._probing.num_waiting + self._errands.num_waiting
        )
        assert self.residency.num_waiting == num_waiting
        assert self._followers.keys() <= self._sequences.keys()

    def _rest(self) -> bool:
        """Check the books once when everything has ended; there is nothing to run."""
        if not self._sequences and not self._checked:
            self.check_integrity()
            self._checked = True
        return False

    def _take_loads(self) -> None:
        """Learn what has been loaded, and give up or ask again for what could not be."""
        for failure in self._loads.take():
            if isinstance(failure, Broken):
                self._fail_load(failure.digest, failure.reason, failure.message)
                continue
            self._probing.lose(failure.digest)
            self._errands.refetch(failure.digest)
            for sequence in self.scheduler.waiting_for(failure.digest):
                self.residency.refetch(failure.digest, sequence.peer)

    def _drop_late(self, now: float) -> None:
        """Fail what is past its deadline, and give up what was for a front that is gone."""
        for sequence in self.scheduler.expired(now):
            where = "load" if sequence.state is State.LOADING else "queue"
            if sequence.state in (State.RUNNING, State.PARKED):
                where = "decode" if sequence.num_generated else "prefill"
            waited_ms = round(1000 * (now - sequence.submitted_at))
            message = f"the deadline passed after {waited_ms} ms, during {where}"
            self._fail(sequence, "DEADLINE_EXCEEDED", message, during=where)
        for key in [key for key in self._followers if key[0] in self._lost]:
            del self._followers[key]
        for peer, stream in [key for key in self._sequences if key[0] in self._lost]:
            self._drop(peer, stream)
        self._lost.clear()

    def _fail_load(self, digest: str, reason: str, message: str) -> None:
        """Give a load up, with everything that waits for it."""
        logger.warning("adapter %s: %s: %s", digest, reason, message)
        self._probing.fail(digest, message)
        self._errands.fail(digest, reason, message)
        for sequence in self.scheduler.waiting_for(digest):
            self._fail(sequence, reason, message, digest=digest)

    def _fail(self, sequence: Sequence, reason: str, message: str, **metadata: str) -> None:
        stream = sequence.request.stream
        self._drop(sequence.peer, stream)
        self._tell(sequence.peer, Failed(stream, reason, message, metadata))

    def _drop(self, peer: bytes, stream: int) -> Sequence | None:
        """Take a sequence out, if it still lives."""
        sequence = self._sequences.pop((peer, stream), None)
        if sequence is not None:
            self.scheduler.finish(sequence)
            self._release(peer, stream)
        return sequence

    def _ask(self, peer: bytes, digest: str) -> None:
        self._tell(peer, Need(digest))

    def _tell(self, peer: bytes, message: EngineMessage) -> None:
        if not self._send(peer, message):
            self._lost.add(peer)
