"""Which way a plan takes to its draws; that all ways give the same tokens is in test_pipeline."""

from contextlib import closing

from weft.server.config import EngineConfig
from weft.server.engine.plan import Chunk, Plan
from weft.server.engine.sequence import alone

from .worlds import Front, World, capture_graphs

CONFIG = EngineConfig(kv_bytes=1_000_000, arena_bytes=4_000_000, max_sequences=4)


def test_graphs_take_what_tells_no_prompt_and_the_rest_is_laid_out(world: World) -> None:
    with closing(Front(world, CONFIG)) as front:
        engine, runner = front.engine, front.engine._runner
        graphs = capture_graphs(front, max_rows=4)
        assert graphs is not None
        runner.graphs, run, ran = graphs, graphs.run, []

        def note(plan: Plan, *rest: object) -> object:
            ran.append(len(plan.chunks))
            return run(plan, *rest)  # type: ignore[arg-type]

        graphs.run = note  # type: ignore[method-assign, assignment]
        front.submit([5, 6, 7], max_tokens=4)
        front.step()
        front.submit([8, 9], max_tokens=2)
        front.finish()
        kinds = [step.kind for step in engine.stats().steps]
        assert {"prefill", "mixed", "decode"} == set(kinds)
        assert len(ran) == len(kinds)
        front.submit([5, 6, 7], max_tokens=1, prompt_logprobs=0)
        front.finish()
        front.submit(list(range(1, 250)), max_tokens=1)
        front.finish()
        assert len(ran) == len(kinds)
        drafted = Chunk(alone([5, 6, 7], num_blocks=1), 2, 3, drafts=(8,))
        assert not graphs.takes(Plan((drafted,)))
