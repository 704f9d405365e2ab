"""Figures of the demo's server: tokens per second alone and mixed, and the load of an adapter."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from statistics import median
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from weft.client import AsyncClient, Sampling, Stopping, user

from .errors import StepFailed

BATCH = 10
TOKENS = 64
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Rates:
    """Generated tokens per second over all streams of a batch; the median of the rounds."""

    batch: int
    base: float
    mixed: float


async def measure_rates(
    client: AsyncClient, base: str, adapters: Sequence[str], prompt: str
) -> Rates:
    """Measure both in turn, so that what else the machine does meets both."""
    mixed = list(islice(cycle((base, *adapters)), BATCH))
    rates = [
        (await measure(client, [base] * BATCH, prompt), await measure(client, mixed, prompt))
        for _ in range(ROUNDS)
    ]
    alone, together = zip(*rates, strict=True)
    return Rates(BATCH, median(alone), median(together))


async def measure(client: AsyncClient, models: Sequence[str], prompt: str) -> float:
    """Run one request per model at once; generated tokens per second, all together."""
    stopping = Stopping(max_tokens=TOKENS, ignore_end_token=True)
    began = time.perf_counter()
    answers = await asyncio.gather(
        *(
            client.complete(
                model,
                chat=[user(prompt)],
                sampling=Sampling(temperature=0),
                stopping=stopping,
            )
            for model in models
        )
    )
    elapsed_s = time.perf_counter() - began
    return sum(len(answer.completions[0].token_ids) for answer in answers) / elapsed_s


def read_load_ms(metrics: str) -> float:
    """Read the mean time that an adapter took into the arena, in milliseconds, from the metrics."""
    with urlopen(f"http://{metrics}/metrics", timeout=10) as response:
        text = response.read().decode()
    sums = {"weft_adapter_load_seconds_sum": 0.0, "weft_adapter_load_seconds_count": 0.0}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in sums:
                sums[sample.name] += sample.value
    total_s, count = sums.values()
    if count == 0:
        raise StepFailed("the metrics count no load of an adapter")
    return 1000 * total_s / count
