"""Metrics: their names and labels, and what the engine's figures become."""

from collections.abc import Iterator

from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

from weft.server import metrics
from weft.server.channel import LoadSample, Stats, StepSample

NAMES = {
    "weft_build_info": ("version", "base_digest"),
    "weft_requests": ("tenant", "model", "reason"),
    "weft_request_seconds": ("model",),
    "weft_queue_seconds": ("model",),
    "weft_time_to_first_token_seconds": ("model",),
    "weft_time_per_output_token_seconds": ("model",),
    "weft_tokens": ("model", "kind"),
    "weft_auth_failures": ("reason",),
    "weft_front_loop_lag_seconds": (),
    "weft_channel_messages": ("direction",),
    "weft_admission": ("code",),
    "weft_registry_lag_seconds": (),
    "weft_registry_stale": (),
    "weft_running_sequences": (),
    "weft_waiting_sequences": ("why",),
    "weft_kv_blocks": ("state",),
    "weft_step_seconds": ("kind",),
    "weft_step_tokens": ("kind",),
    "weft_batch_distinct_adapters": (),
    "weft_adapter_load_seconds": ("from", "to"),
    "weft_adapter_lookups": ("tier", "result"),
    "weft_adapter_evictions": ("tier",),
    "weft_response_cache": ("result",),
    "weft_parks": (),
    "weft_adapter_prefetches": (),
    "weft_tier_bytes": ("tier", "kind"),
    "weft_tier_adapters": ("tier",),
    "weft_jobs_ended": ("state",),
    "weft_job_step_seconds": (),
    "weft_job_tokens": ("tenant", "kind"),
}
STATS = Stats(
    running=3,
    waiting_budget=4,
    waiting_blocks=5,
    waiting_adapter=6,
    free_blocks=7,
    cached_blocks=8,
    used_blocks=9,
    arena_used_bytes=10,
    arena_total_bytes=11,
    host_used_bytes=12,
    host_total_bytes=13,
    host_adapters=14,
    resident=["sha256:a", "sha256:b"],
    steps=[StepSample("decode", 0.25, 12, 2), StepSample("mixed", 0.5, 40, 3)],
    loads=[LoadSample("disk", 0.125)],
    lookups={"arena": 13, "host": 5, "disk": 2, "store": 7},
    evictions=15,
    host_evictions=17,
    parks=16,
    prefetches=18,
)


def collectors() -> Iterator[MetricWrapperBase]:
    found = vars(metrics).values()
    yield from (each for each in found if isinstance(each, MetricWrapperBase))


def test_names_and_labels_are_those_that_dashboards_use() -> None:
    found = {each._name: each._labelnames for each in collectors()}
    assert found == NAMES


def test_names_beyond_the_limit_share_one_label() -> None:
    labels = metrics.ModelLabels(2)
    found = [labels.of(name) for name in ("a", "b", "c", "a", "d")]
    assert found == ["a", "b", "other", "a", "other"]


def test_times_have_buckets_from_a_millisecond_to_a_minute() -> None:
    assert (metrics.TIME_BUCKETS[0], metrics.TIME_BUCKETS[-1]) == (0.001, 60)
    assert list(metrics.TIME_BUCKETS) == sorted(metrics.TIME_BUCKETS)


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"weft_{name}", labels) or 0.0


def test_gauges_of_the_engine_are_as_it_says() -> None:
    metrics.record(STATS)
    assert sample("running_sequences") == 3
    for why, expected in (("budget", 4), ("blocks", 5), ("adapter", 6)):
        assert sample("waiting_sequences", why=why) == expected
    for state, expected in (("free", 7), ("cached", 8), ("used", 9)):
        assert sample("kv_blocks", state=state) == expected
    for tier, used, total, num in (("gpu", 10, 11, 2), ("host", 12, 13, 14)):
        assert sample("tier_bytes", tier=tier, kind="used") == used
        assert sample("tier_bytes", tier=tier, kind="total") == total
        assert sample("tier_adapters", tier=tier) == num


def test_samples_and_counts_of_the_engine_add_up() -> None:
    def figures() -> list[float]:
        return [
            sample("step_seconds_sum", kind="decode"),
            sample("step_tokens_sum", kind="mixed"),
            sample("batch_distinct_adapters_sum"),
            sample("adapter_load_seconds_sum", **{"from": "disk", "to": "gpu"}),
            *(
                sample("adapter_lookups_total", tier=tier, result=result)
                for tier in ("gpu", "host", "disk")
                for result in ("hit", "miss")
            ),
            sample("adapter_evictions_total", tier="gpu"),
            sample("adapter_evictions_total", tier="host"),
            sample("parks_total"),
            sample("adapter_prefetches_total"),
        ]

    before = figures()
    metrics.record(STATS)
    added = [after - was for after, was in zip(figures(), before, strict=True)]
    assert added == [0.25, 40, 5, 0.125, 13, 14, 5, 9, 2, 7, 15, 17, 16, 18]
