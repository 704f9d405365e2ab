"""Decode steps without Python in the way: captured once for every size, replayed at each step.

There are two sets, with adapters and without, so that a batch of base rows pays nothing for LoRA.
A graph does not depend on how many adapters there are, nor on their ranks.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from weft.kernels import Arena
from weft.server.model.adapt import kernel_sites
from weft.server.model.kv_cache import KVCache
from weft.server.model.load_probe import MAX_ERROR, logits_error
from weft.server.model.loader import LoadedModel

from .batch import build_batch
from .plan import Chunk, Plan
from .sequence import alone
from .static_batch import StaticBatch

logger = logging.getLogger(__name__)

Replay = Callable[[], Tensor]
Capture = Callable[[Replay], Replay]
PROBE_RANK = 16
PROBE_SLOT = 0


class Key(NamedTuple):
    """What one graph is for: so many rows, with or without adapters."""

    rows: int
    adapted: bool


def graph_rows(max_rows: int) -> list[int]:
    """Sizes to capture: powers of two up to 8, multiples of 8 up to 256, of 64 after."""
    sizes = [1, 2, 4, *range(8, 257, 8), *range(320, max_rows + 64, 64)]
    return [*(size for size in sizes if size < max_rows), max_rows]


class DecodeGraphs:
    """Runs the steps in which every sequence has one token to compute and to draw."""

    def __init__(self, batch: StaticBatch, graphs: dict[Key, Replay]) -> None:
        self._batch = batch
        self._graphs = graphs
        self._sizes = sorted({key.rows for key in graphs})

    def takes(self, plan: Plan) -> bool:
        """Whether a graph can run the plan."""
        fits = len(plan.chunks) <= self._sizes[-1]
        return fits and all(c.wants_logits and c.num_rows == 1 for c in plan.chunks)

    def run(self, plan: Plan, drawn_B: Tensor | None = None) -> Tensor:
        """The logits of every chunk, `[B, V]`, float32; valid until the next run.

        Args:
            drawn_B: On the device, the draws of the step that the plan follows, if it follows one.
        """
        chunks = plan.chunks
        key = self._key(len(chunks), any(chunk.sequence.slot is not None for chunk in chunks))
        self._batch.send(plan, key.rows, drawn_B)
        return self._graphs[key]()[: len(chunks)]

    def replay_of(self, num_rows: int, *, adapted: bool) -> Replay:
        """What runs a step of so many rows, on what was sent last."""
        return self._graphs[self._key(num_rows, adapted)]

    def _key(self, num_rows: int, adapted: bool) -> Key:
        return Key(next(size for size in self._sizes if size >= num_rows), adapted)


def capture_decodes(
    model: LoadedModel,
    cache: KVCache,
    arena: Arena,
    *,
    max_rows: int,
    max_blocks: int,
    capture: Capture,
) -> DecodeGraphs | None:
    """Capture both sets, the largest first, and prove them; None if they do not reproduce a step.

    To be called before anything lies in the arena or in the cache, whose last block is nobody's.

    Args:
        max_rows: Sequences of the largest step.
        max_blocks: Longest block table.
        capture: Makes a step that can be replayed of one that runs.
    """
    batch = StaticBatch(
        max_rows,
        max_blocks=max_blocks,
        block_tokens=cache.block_tokens,
        spare_block=cache.num_blocks - 1,
        device=model.device,
    )
    started = time.monotonic()
    write_probe_adapter(model, arena)
    sizes = graph_rows(max_rows)
    keys = [Key(rows, adapted) for rows in reversed(sizes) for adapted in (False, True)]
    graphs: dict[Key, Replay] = {}
    logger.info("capturing %d decode graphs, up to %d rows", len(keys), max_rows)
    for key in keys:
        batch.send(_probe_plan(1, cache, adapted=key.adapted), key.rows)
        graphs[key] = capture(_step(model, cache, arena, batch, key))
    decodes = DecodeGraphs(batch, graphs)
    error = max(_errors(decodes, model, cache, arena, sizes))
    arena.clear_row(PROBE_SLOT)
    if error > MAX_ERROR[model.dtype]:
        logger.warning("decode graphs change the logits by %.2g of their size: undone", error)
        return None
    seconds = time.monotonic() - started
    logger.info("%d decode graphs in %.1f s, logits within %.2g", len(graphs), seconds, error)
    return decodes


def cuda_capture(device: torch.device) -> Capture:
    """Capture into CUDA graphs that share one memory pool; the step runs once beforehand."""
    pool = torch.cuda.graph_pool_handle()
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def capture(step: Replay) -> Replay:
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            step()  # compiles and allocates what may not be captured
        torch.cuda.current_stream(device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool, stream=stream):
            logits_BV = step()

        def replay() -> Tensor:
            graph.replay()
            return logits_BV

        return replay

    return capture


def write_probe_adapter(model: LoadedModel, arena: Arena) -> None:
    """Give PROBE_SLOT an adapter on every module, of one small matrix that all of them share."""
    facts = model.facts
    sites = kernel_sites(facts).values()
    widest = max(max(site.in_features, *site.out_features) for site in sites)
    rank = min(PROBE_RANK, arena.table.max_rank, arena.data.numel() // widest)
    generator = torch.Generator(arena.data.device).manual_seed(0)
    arena.data[: rank * widest].normal_(0, 0.02, generator=generator)
    nowhere = np.zeros(facts.num_slices, np.int64)
    ranks = np.full(facts.num_slices, rank, np.int32)
    arena.write_row(PROBE_SLOT, nowhere, nowhere, ranks)


def _step(model: LoadedModel, cache: KVCache, arena: Arena, batch: StaticBatch, key: Key) -> Replay:
    def step() -> Tensor:
        views = batch.views(key.rows, adapted=key.adapted)
        return model.forward(views, cache, arena if key.adapted else None)

    return step


def _errors(
    decodes: DecodeGraphs, model: LoadedModel, cache: KVCache, arena: Arena, sizes: Sequence[int]
) -> Iterator[float]:
    """How far every size is from a step that was laid out anew, one row short of full."""
    for rows in sizes:
        for adapted in (False, True):
            plan = _probe_plan(max(1, rows - 1), cache, adapted=adapted)
            batch = build_batch(plan, block_tokens=cache.block_tokens, device=model.device)
            expected = model.forward(batch, cache, arena)
            yield logits_error([decodes.run(plan)], [expected])


def _probe_plan(rows: int, cache: KVCache, *, adapted: bool) -> Plan:
    """The last tokens of one block of so many sequences; with adapters every other one has it."""
    sequences = []
    for i in range(min(rows, cache.num_blocks - 1)):
        sequence = alone([i % 7 + 1] * cache.block_tokens, num_blocks=1)
        sequence.blocks[0] = i
        sequence.slot = PROBE_SLOT if adapted and i % 2 == 0 else None
        sequences.append(sequence)
    last = cache.block_tokens
    return Plan(tuple(Chunk(sequence, last - 1, last) for sequence in sequences))
