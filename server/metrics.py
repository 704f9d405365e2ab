"""Every Prometheus metric, and how the engine's figures become some of them.

Fronts and workers count in prometheus_client's multiprocess mode; the supervisor serves the sums.
The engine counts nothing itself: it sends `Stats`, which a front records here. Buckets of times
reach from 1 ms to 60 s.
"""

from collections.abc import Mapping

from prometheus_client import Counter, Gauge, Histogram

from .channel import Stats

TIME_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
MAX_MODELS = 256
OTHER_MODELS = "other"
SIZE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)


def _histogram(name: str, text: str, labels: tuple[str, ...] = ()) -> Histogram:
    return Histogram(f"weft_{name}", text, labels, buckets=TIME_BUCKETS)


def _gauge(name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
    return Gauge(f"weft_{name}", text, labels, multiprocess_mode="livemostrecent")


BUILD_INFO = _gauge("build_info", "1, labelled by what runs", ("version", "base_digest"))
REQUESTS = Counter("weft_requests", "Generate calls ended", ("tenant", "model", "reason"))
REQUEST_TIME = _histogram("request_seconds", "Generate calls, begin to end", ("model",))
QUEUE_TIME = _histogram("queue_seconds", "Waiting to be scheduled", ("model",))
FIRST_TOKEN_TIME = _histogram("time_to_first_token_seconds", "To the first token", ("model",))
OUTPUT_TOKEN_TIME = _histogram("time_per_output_token_seconds", "Later tokens, mean", ("model",))
TOKENS = Counter("weft_tokens", "Tokens: prompt, cached, generated", ("model", "kind"))
AUTH_FAILURES = Counter("weft_auth_failures", "Calls turned away", ("reason",))
LOOP_LAG = _histogram("front_loop_lag_seconds", "How late the front's event loop is")
CHANNEL_MESSAGES = Counter("weft_channel_messages", "Messages front ↔ engine", ("direction",))
ADMISSIONS = Counter("weft_admission", "Adapters judged, by code; OK when admitted", ("code",))
REGISTRY_LAG = _gauge("registry_lag_seconds", "Since the follower heard from Redis")
REGISTRY_STALE = _gauge("registry_stale", "1 while the registry's state may be old")

RUNNING = _gauge("running_sequences", "Sequences in the batch")
WAITING = _gauge("waiting_sequences", "Sequences waiting, by what they lack", ("why",))
KV_BLOCKS = _gauge("kv_blocks", "Blocks of the KV cache", ("state",))
STEP_TIME = _histogram("step_seconds", "Engine steps", ("kind",))
STEP_TOKENS = Histogram(
    "weft_step_tokens", "Tokens of an engine step", ("kind",), buckets=SIZE_BUCKETS
)
DISTINCT_ADAPTERS = Histogram(
    "weft_batch_distinct_adapters", "Adapters in one step", buckets=SIZE_BUCKETS
)
LOAD_TIME = _histogram("adapter_load_seconds", "Loads of adapters", ("from", "to"))
LOOKUPS = Counter("weft_adapter_lookups", "Adapters asked for, by tier", ("tier", "result"))
EVICTIONS = Counter("weft_adapter_evictions", "Adapters dropped from a tier", ("tier",))
RESPONSE_CACHE = Counter("weft_response_cache", "Requests it may answer, by result", ("result",))
PARKS = Counter("weft_parks", "Sequences whose adapter's turn ended while they ran")
PREFETCHES = Counter("weft_adapter_prefetches", "Adapters brought to the device ahead of requests")
TIER_BYTES = _gauge("tier_bytes", "Bytes of a tier", ("tier", "kind"))
TIER_ADAPTERS = _gauge("tier_adapters", "Adapters in a tier", ("tier",))

JOBS = Counter("weft_jobs_ended", "Jobs that a worker ended", ("state",))
JOB_STEP_TIME = _histogram("job_step_seconds", "Optimizer steps of jobs")
JOB_TOKENS = Counter("weft_job_tokens", "Tokens of jobs", ("tenant", "kind"))


class ModelLabels:
    """The `model` of a series: an adapter's name without its version, for a series is never dropped
    and publications have no end. Names beyond the limit share `other`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: set[str] = set()

    def of(self, name: str) -> str:
        if name not in self._known and len(self._known) < self._limit:
            self._known.add(name)
        return name if name in self._known else OTHER_MODELS


def record(stats: Stats) -> None:
    """Take over the engine's figures."""
    RUNNING.set(stats.running)
    WAITING.labels("budget").set(stats.waiting_budget)
    WAITING.labels("blocks").set(stats.waiting_blocks)
    WAITING.labels("adapter").set(stats.waiting_adapter)
    KV_BLOCKS.labels("free").set(stats.free_blocks)
    KV_BLOCKS.labels("cached").set(stats.cached_blocks)
    KV_BLOCKS.labels("used").set(stats.used_blocks)
    TIER_BYTES.labels("gpu", "used").set(stats.arena_used_bytes)
    TIER_BYTES.labels("gpu", "total").set(stats.arena_total_bytes)
    TIER_BYTES.labels("host", "used").set(stats.host_used_bytes)
    TIER_BYTES.labels("host", "total").set(stats.host_total_bytes)
    TIER_ADAPTERS.labels("gpu").set(len(stats.resident))
    TIER_ADAPTERS.labels("host").set(stats.host_adapters)
    for step in stats.steps:
        STEP_TIME.labels(step.kind).observe(step.seconds)
        STEP_TOKENS.labels(step.kind).observe(step.tokens)
        DISTINCT_ADAPTERS.observe(step.distinct_adapters)
    for load in stats.loads:
        LOAD_TIME.labels(load.origin, "gpu").observe(load.seconds)
    _record_lookups(stats.lookups)
    EVICTIONS.labels("gpu").inc(stats.evictions)
    EVICTIONS.labels("host").inc(stats.host_evictions)
    PARKS.inc(stats.parks)
    PREFETCHES.inc(stats.prefetches)


def _record_lookups(lookups: Mapping[str, int]) -> None:
    """Count a hit where an adapter lay, and a miss in every tier before."""
    missed = sum(lookups.values())
    for place, tier in (("arena", "gpu"), ("host", "host"), ("disk", "disk")):
        found = lookups.get(place, 0)
        missed -= found
        LOOKUPS.labels(tier, "hit").inc(found)
        LOOKUPS.labels(tier, "miss").inc(missed)
