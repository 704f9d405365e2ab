"""Counts start anew with every message; gauges are what they are."""

from weft.server.engine.figures import Figures

from .plans import BLOCK_TOKENS, IMAGE_SIZE, Bench


def test_gauges_name_what_sequences_wait_for() -> None:
    bench = Bench(num_blocks=16, arena_images=1)
    bench.submit([1] * 50, max_tokens=9)
    for _ in range(3):
        bench.step()
    bench.submit([2], digest="sha256:a")
    bench.submit([3] * 40)
    bench.plan()
    stats = Figures(element_bytes=32).take(bench.scheduler, bench.blocks, bench.residency)
    assert (stats.running, stats.waiting_adapter) == (1, 1)
    assert (stats.waiting_blocks, stats.waiting_budget) == (1, 0)
    assert stats.free_blocks + stats.cached_blocks + stats.used_blocks == 16
    assert stats.used_blocks >= 50 // BLOCK_TOKENS
    assert stats.arena_total_bytes == 32 * IMAGE_SIZE
    assert stats.arena_used_bytes == 0


def test_full_batch_is_waiting_for_budget() -> None:
    bench = Bench()
    for _ in range(9):
        bench.submit([1])
    bench.step()
    stats = Figures(element_bytes=32).take(bench.scheduler, bench.blocks, bench.residency)
    assert (stats.running, stats.waiting_budget, stats.waiting_blocks) == (8, 1, 0)


def test_samples_and_counts_are_told_once() -> None:
    bench, figures = Bench(arena_images=1), Figures(element_bytes=32)
    for digest in ("sha256:a", "sha256:b"):
        bench.submit([1, 2, 3], digest=digest, max_tokens=1)
        bench.load()
        plan = bench.plan()
        figures.count_step(plan, kind=plan.kind, seconds=0.5)
        bench.run(plan)
    for tier in ("arena", "disk", "arena"):
        figures.count_lookup(tier)
    figures.count_load("host", 0.25)
    stats = figures.take(bench.scheduler, bench.blocks, bench.residency)
    assert [(s.kind, s.tokens, s.distinct_adapters) for s in stats.steps] == [("prefill", 3, 1)] * 2
    assert (stats.lookups, stats.evictions) == ({"arena": 2, "disk": 1}, 1)
    assert (stats.host_used_bytes, stats.host_total_bytes) == (2 * 32 * IMAGE_SIZE,) * 2
    assert (stats.host_adapters, stats.host_evictions) == (2, 0)
    assert [(load.origin, load.seconds) for load in stats.loads] == [("host", 0.25)]
    assert stats.resident == ["sha256:b"]
    stats = figures.take(bench.scheduler, bench.blocks, bench.residency)
    assert (stats.steps, stats.loads, stats.evictions, stats.lookups) == ([], [], 0, {})
