"""The engine: owner of the model, the KV cache, the arena and the queues. No asyncio, no sockets.

A step: take what was loaded, plan, lay the batch out, run the model, draw, tell the fronts.
"""

import logging
import time
from pathlib import Path

from weft.adapters.sites import BaseFacts
from weft.kernels import Arena
from weft.kernels.tune import tuned_tiles
from weft.server.channel import (
    BUILD,
    Abort,
    FrontMessage,
    Hello,
    Locate,
    Located,
    Need,
    Probe,
    Ready,
    Stats,
    Submit,
    Unpin,
    Unready,
    Warm,
    Welcome,
)
from weft.server.config import EngineConfig
from weft.server.model.adapt import kernel_sites
from weft.server.model.kv_cache import KVCache
from weft.server.model.loader import LoadedModel

from .arrivals import Arrivals
from .budgets import make_budgets
from .constraint import Grammars
from .delivery import Delivery
from .errands import Errands
from .figures import Figures
from .graphs import StepGraphs, capture_steps, cuda_capture
from .kv_cache import BlockAllocator
from .ledger import Ledger
from .loader import Broken
from .loads import Loads
from .lookup import Speculation
from .order import make_order
from .pace import Pace
from .pipeline import Pipeline
from .places import Place
from .price_probe import measure_prices
from .probing import Probing
from .residency import Residency
from .runner import Runner
from .sampler import prepare
from .scheduler import Scheduler
from .sequence import State
from .step_time import StepTime
from .streams import Send, Streams
from .window import make_window

logger = logging.getLogger(__name__)


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
        runs_ahead: bool | None = None,
    ) -> None:
        """Lay the engine out.

        Args:
            folder: Of the checkpoint, whose tokenizer constraints need.
            runs_ahead: Launch a step before the one before it is read; None = on a GPU, for on a
                CPU nothing runs beside the host.
        """
        sites = kernel_sites(facts).values()
        tiles = tuned_tiles(sites, dtype=model.dtype, device=model.device)
        budgets = make_budgets(config, model)
        self.budgets = budgets
        self._model = model
        self._facts = facts
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
        on_gpu = model.device.type == "cuda"
        graphs = self._capture() if config.graphs and on_gpu else None
        self.blocks = BlockAllocator(budgets.num_blocks)
        self.residency = Residency(
            budgets.arena_elements,
            host_elements=budgets.host_elements,
            num_slots=budgets.num_slots,
            element_bytes=model.dtype.itemsize,
        )
        prepare(vocab_size=facts.vocab_size, device=model.device)
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
        self._streams = Streams(self.scheduler, send=send)
        self._delivery = Delivery(self.scheduler, self._streams, self._speculation)
        self._figures = Figures(element_bytes=model.dtype.itemsize)
        self._runner = Runner(model, self.cache, self.arena, graphs=graphs, delivery=self._delivery)
        self._pipeline = Pipeline(
            self._runner,
            self.scheduler,
            self._streams,
            delivery=self._delivery,
            speculation=self._speculation,
            step_time=self._step_time,
            figures=self._figures,
            # drafts are made of tokens that the host knows
            runs_ahead=(on_gpu if runs_ahead is None else runs_ahead) and not config.speculate,
        )
        self._loads = Loads(
            facts,
            self.arena,
            self.residency,
            ask=self._ask,
            settle=self._pipeline.land,
            park=self.scheduler.park,
            loaded=self._figures.count_load,
        )
        self._probing = Probing(
            model,
            facts,
            arena=self.arena,
            residency=self.residency,
            max_rank=budgets.max_rank,
            answer=self._streams.tell,
        )
        self._arrivals = Arrivals(
            self.scheduler,
            self._streams,
            grammars=Grammars(folder, vocab_size=facts.vocab_size),
            figures=self._figures,
        )
        self._errands = Errands(self.residency, answer=self._streams.tell)
        self._checked = False

    def step(self) -> bool:
        """Run one step; False if there was nothing to run."""
        started = time.monotonic()
        self._take_loads()
        self._errands.step()
        self._arrivals.step()
        self._drop_late(started)
        self._loads.order(started)
        has_run = self._pipeline.step(started)
        return self._probing.step() or has_run or self._rest()

    def _capture(self) -> StepGraphs | None:
        limits = self.budgets.limits
        return capture_steps(
            self._model,
            self.cache,
            self.arena,
            max_rows=limits.max_sequences,
            max_tokens=limits.max_batch_tokens,
            max_blocks=-(-limits.max_context // self.budgets.block_tokens),
            capture=cuda_capture(self._model.device),
        )

    def receive(self, peer: bytes, message: FrontMessage) -> None:
        """Take one message of a front."""
        match message:
            case Hello():
                self._streams.tell(peer, self.welcome())
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
                self._streams.tell(peer, Located(message.call, held))

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
        self._checked = False
        self._arrivals.submit(peer, request, now=time.monotonic())

    def abort(self, peer: bytes, stream: int) -> None:
        """End a sequence that is no longer wanted; one that has drawn tokens says what it took."""
        self._arrivals.drop(peer, stream)
        sequence = self._streams.drop(peer, stream)
        if sequence is not None and sequence.num_generated:
            self._streams.tell(peer, sequence.finished("abort", time.monotonic()))

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
    def graphs(self) -> StepGraphs | None:
        """The captured steps; None where every step is laid out anew."""
        return self._runner.graphs

    @property
    def is_loading(self) -> bool:
        """Whether threads beside the steps have something in hand."""
        return self._loads.is_busy or self._probing.is_busy or self._arrivals.is_compiling

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
        self._arrivals.close()

    def check_integrity(self) -> None:
        """Assert that queues, blocks, slots and streams agree."""
        self.scheduler.check_integrity()
        live = [*self.scheduler.waiting, *self.scheduler.running]
        self._streams.check_integrity(live)
        self._arrivals.check_integrity()
        adapted = [sequence for sequence in live if sequence.digest is not None]
        num_pins = sum(sequence.state is State.RUNNING for sequence in adapted)
        assert self.residency.num_pins == num_pins
        num_waiting = (
            len(adapted) - num_pins + self._probing.num_waiting + self._errands.num_waiting
        )
        assert self.residency.num_waiting == num_waiting

    def _rest(self) -> bool:
        """Check the books once when everything has ended; there is nothing to run."""
        if not self._streams and not self._arrivals and not self._checked:
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
            self._streams.fail(sequence, "DEADLINE_EXCEEDED", message, during=where)
        self._arrivals.drop_fronts(self._streams.drop_lost())

    def _fail_load(self, digest: str, reason: str, message: str) -> None:
        """Give a load up, with everything that waits for it."""
        logger.warning("adapter %s: %s: %s", digest, reason, message)
        self._probing.fail(digest, message)
        self._errands.fail(digest, reason, message)
        for sequence in self.scheduler.waiting_for(digest):
            self._streams.fail(sequence, reason, message, digest=digest)

    def _ask(self, peer: bytes, digest: str) -> None:
        self._streams.tell(peer, Need(digest))
