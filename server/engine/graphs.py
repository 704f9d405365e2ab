"""Steps without Python in the way: captured once for every size, replayed at each step.

They are decodes, and mixed steps, decodes with chunks of prompts, of up to 512 tokens: the launches
of larger ones hide behind their products. There are two sets, with adapters and without, so that a
batch of base rows pays nothing for LoRA. A graph does not depend on how many adapters there are,
nor on their ranks.
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
from .static_batch import Shape, StaticBatch

logger = logging.getLogger(__name__)

Replay = Callable[[], Tensor]
Capture = Callable[[Replay], Replay]
PROBE_RANK = 16
PROBE_SLOT = 0
PROBE_DECODES = 2  # beside the prompt of a mixed step
MIXED_ROWS = (64, 128, 256, 384, 512)


class Key(NamedTuple):
    """What one graph is for: steps of a shape, with or without adapters."""

    shape: Shape
    adapted: bool


def graph_rows(max_rows: int) -> list[int]:
    """Sizes to capture: powers of two up to 8, multiples of 8 up to 256, of 64 after."""
    sizes = [1, 2, 4, *range(8, 257, 8), *range(320, max_rows + 64, 64)]
    return [*(size for size in sizes if size < max_rows), max_rows]


def graph_shapes(max_rows: int, *, max_tokens: int) -> list[Shape]:
    """Shapes to capture, in the order in which they are tried.

    Args:
        max_rows: Sequences of the largest step.
        max_tokens: Tokens of the largest mixed step.
    """
    decodes = [Shape(rows, rows) for rows in graph_rows(max_rows)]
    mixed = [Shape(rows, min(max_rows + 1, rows - 1)) for rows in MIXED_ROWS if rows <= max_tokens]
    return decodes + mixed


class StepGraphs:
    """Runs the steps that draw one token at most for every sequence, and tell nothing else."""

    def __init__(self, batch: StaticBatch, graphs: dict[Key, Replay]) -> None:
        self._batch = batch
        self._graphs = graphs
        self._shapes = list(dict.fromkeys(key.shape for key in graphs))

    def takes(self, plan: Plan) -> bool:
        """Whether a graph can run the plan."""
        tells = any(chunk.drafts or chunk.told for chunk in plan.chunks)
        return not tells and self._shape_for(plan) is not None

    def run(self, plan: Plan, drawn_B: Tensor | None = None) -> Tensor:
        """The logits of every chunk that wants them, `[B, V]`, float32; valid until the next run.

        Args:
            drawn_B: On the device, the draws of the step that the plan follows, if it follows one.
        """
        shape = self._shape_for(plan)
        assert shape is not None, "it takes the plan"
        adapted = any(chunk.sequence.slot is not None for chunk in plan.chunks)
        self._batch.send(plan, shape, drawn_B)
        logits_BV = self._graphs[Key(shape, adapted)]()
        return logits_BV[: sum(chunk.wants_logits for chunk in plan.chunks)]

    def replay_of(self, num_rows: int, *, adapted: bool) -> Replay:
        """What runs a step of so many decodes, on what was sent last."""
        shape = next(s for s in self._shapes if s.is_decode and s.rows >= num_rows)
        return self._graphs[Key(shape, adapted)]

    def _shape_for(self, plan: Plan) -> Shape | None:
        num_tokens, num_chunks = plan.num_tokens, len(plan.chunks)
        shapes = (s for s in self._shapes if s.holds(num_tokens=num_tokens, num_chunks=num_chunks))
        return next(shapes, None)


def capture_steps(
    model: LoadedModel,
    cache: KVCache,
    arena: Arena,
    *,
    max_rows: int,
    max_tokens: int,
    max_blocks: int,
    capture: Capture,
) -> StepGraphs | None:
    """Capture both sets, the largest first, and prove them; None if they do not reproduce a step.

    To be called before anything lies in the arena or in the cache, whose last block is nobody's.

    Args:
        max_rows: Sequences of the largest step.
        max_tokens: Tokens of the largest step.
        max_blocks: Longest block table.
        capture: Makes a step that can be replayed of one that runs.
    """
    room = min(max_blocks, cache.num_blocks - 1 - PROBE_DECODES) * cache.block_tokens
    shapes = graph_shapes(max_rows, max_tokens=min(max_tokens, room))
    batch = StaticBatch(
        shapes,
        max_rows=max_rows,
        max_blocks=max_blocks,
        block_tokens=cache.block_tokens,
        spare_block=cache.num_blocks - 1,
        tile_tokens=model.tile_tokens,
        device=model.device,
    )
    num_logits = max(shape.sequences for shape in shapes)
    logits_BV = torch.empty(num_logits, model.facts.vocab_size, device=model.device)
    started = time.monotonic()
    write_probe_adapter(model, arena)
    keys = [Key(shape, adapted) for shape in shapes for adapted in (False, True)]
    graphs: dict[Key, Replay] = {}
    logger.info("capturing %d graphs, up to %d rows", len(keys), max(s.rows for s in shapes))
    for key in sorted(keys, reverse=True):
        batch.send(_probe_plan(key, cache, rows=1), key.shape)
        graphs[key] = capture(_step(model, cache, arena, batch, key, logits_BV))
    steps = StepGraphs(batch, {key: graphs[key] for key in keys})
    error = max(_errors(steps, model, cache, arena, keys))
    arena.clear_row(PROBE_SLOT)
    if error > MAX_ERROR[model.dtype]:
        logger.warning("graphs change the logits by %.2g of their size: undone", error)
        return None
    seconds = time.monotonic() - started
    logger.info("%d graphs in %.1f s, logits within %.2g", len(graphs), seconds, error)
    return steps


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


def _step(
    model: LoadedModel,
    cache: KVCache,
    arena: Arena,
    batch: StaticBatch,
    key: Key,
    logits_BV: Tensor,
) -> Replay:
    """A step whose logits go where those of all graphs go: each would keep memory of its own."""

    def step() -> Tensor:
        views = batch.views(key.shape, adapted=key.adapted)
        out_BV = logits_BV[: key.shape.sequences]
        return model.forward(views, cache, arena if key.adapted else None, out_RV=out_BV)

    return step


def _errors(
    steps: StepGraphs, model: LoadedModel, cache: KVCache, arena: Arena, keys: Sequence[Key]
) -> Iterator[float]:
    """How far every graph is from a step that was laid out anew, one row short of full."""
    for key in keys:
        plan = _probe_plan(key, cache, rows=max(1, key.shape.rows - 1))
        batch = build_batch(plan, block_tokens=cache.block_tokens, device=model.device)
        expected = model.forward(batch, cache, arena)
        yield logits_error([steps.run(plan)], [expected])


def _probe_plan(key: Key, cache: KVCache, *, rows: int) -> Plan:
    """So many decodes; or some with a prompt behind its first token, for what is left of the rows.

    With adapters every other sequence has one.
    """
    size = cache.block_tokens
    is_decode = key.shape.is_decode
    num_decodes = rows if is_decode else min(PROBE_DECODES, key.shape.sequences - 2)
    lengths = [size] * min(num_decodes, cache.num_blocks - 1)
    starts = [size - 1] * len(lengths)
    if not is_decode:
        starts.append(1)
        lengths.append(1 + max(2, rows - num_decodes))
    chunks, first = [], 0
    for i, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        sequence = alone([i % 7 + 1] * length, num_blocks=-(-length // size))
        sequence.blocks[:] = range(first, first + len(sequence.blocks))
        sequence.slot = PROBE_SLOT if key.adapted and i % 2 == 0 else None
        first += len(sequence.blocks)
        chunks.append(Chunk(sequence, start, length))
    return Plan(tuple(chunks))
