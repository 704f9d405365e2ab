"""Steps from graphs equal those laid out anew; on a GPU a replay is a CUDA graph."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from weft.kernels import Arena
from weft.server.config import EngineConfig
from weft.server.engine.graphs import (
    Replay,
    StepGraphs,
    capture_steps,
    cuda_capture,
    graph_rows,
    graph_shapes,
)
from weft.server.engine.plan import Plan
from weft.server.model.adapt import kernel_sites
from weft.server.model.kv_cache import KVCache
from weft.server.model.loader import load_model

from .worlds import Front, World, capture_graphs

CONFIG = EngineConfig(kv_bytes=1_000_000, arena_bytes=4_000_000, max_sequences=6)


@pytest.fixture
def front(world: World) -> Iterator[Front]:
    front = Front(world, CONFIG)
    yield front
    front.close()


@pytest.mark.parametrize(
    ("max_rows", "sizes"),
    [(1, [1]), (6, [1, 2, 4, 6]), (20, [1, 2, 4, 8, 16, 20]), (400, [256, 320, 384, 400])],
)
def test_sizes_end_with_the_largest_step(max_rows: int, sizes: list[int]) -> None:
    assert graph_rows(max_rows)[-len(sizes) :] == sizes


def test_mixed_steps_have_room_for_every_sequence_and_padding() -> None:
    shapes = graph_shapes(100, max_tokens=300)
    assert [shape for shape in shapes if not shape.is_decode] == [(64, 63), (128, 101), (256, 101)]
    assert shapes[0] == (1, 1)


def test_an_engine_on_graphs_answers_as_one_without(world: World, front: Front) -> None:
    engine = front.engine
    graphs = capture_graphs(front, max_rows=6)
    assert graphs is not None
    took: list[bool] = []
    takes = graphs.takes

    def note(plan: Plan) -> bool:
        took.append(takes(plan))
        return took[-1]

    graphs.takes = note  # type: ignore[method-assign]

    def run(graphs: StepGraphs | None) -> list[list[int]]:
        engine._runner.graphs = graphs
        streams = [
            front.submit([5 + i] * (4 * i + 1), model=model, max_tokens=20)
            for i, model in enumerate((None, "r8 on all", "r64 on o", None, "r16 on mlp"))
        ]
        front.finish()
        return [front.answers[stream].tokens for stream in streams]

    assert run(graphs) == run(None)
    assert all(took)
    assert graphs.replay_of(3, adapted=True) is graphs.replay_of(4, adapted=True)
    assert graphs.replay_of(3, adapted=True) is not graphs.replay_of(3, adapted=False)


def test_all_graphs_write_their_logits_to_one_place(front: Front) -> None:
    outs: list[Tensor] = []

    def note(step: Replay) -> Replay:
        outs.append(step())
        return step

    capture_graphs(front, max_rows=2, max_tokens=64, capture=note)
    assert [len(out) for out in outs] == [3, 3, 2, 2, 1, 1]
    assert len({out.data_ptr() for out in outs}) == 1


def test_graphs_that_change_the_logits_are_not_used(
    front: Front, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(step: Replay) -> Replay:
        return lambda: step() * 1.5

    graphs = capture_graphs(front, max_rows=2, capture=broken)
    assert graphs is None
    assert "change the logits by 0.5" in caplog.text


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_graphs_equal_ordinary_steps(world: World) -> None:
    device = torch.device("cuda")
    model = load_model(world.folder, facts=world.facts, device=device, dtype=torch.float32)
    cache = KVCache(model.layers, num_blocks=64, block_tokens=16, dtype=model.dtype, device=device)
    sites = kernel_sites(world.facts).values()
    arena = Arena(
        1 << 20,
        num_slots=8,
        num_slices=sum(len(site.out_features) for site in sites),
        dtype=model.dtype,
        device=device,
    )
    captured = cuda_capture(device)
    graphs = capture_steps(
        model, cache, arena, max_rows=20, max_tokens=200, max_blocks=8, capture=captured
    )
    assert graphs is not None
