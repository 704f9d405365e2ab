"""What is refused at once, and what is let in though it looks late."""

from dataclasses import replace

import pytest

from weft.server.channel import Priority
from weft.server.config import SchedulingConfig
from weft.server.errors import DeadlineExceeded, QueueFull

from .plans import LIMITS, Bench

STEP_S = 1.0


def learned_bench(*, policy: str = "fcfs", **limits: int) -> Bench:
    """A bench whose steps of at most 16 tokens take a second each."""
    bench = Bench(replace(LIMITS, **limits), scheduling=SchedulingConfig(policy=policy))
    for i in range(300):
        bench.step_time.observe(1 + i % 16, 10 * i % 70, STEP_S)
    return bench


def prompt(number: int) -> list[int]:
    return list(range(100 * number, 100 * number + 32))


def test_what_cannot_make_its_deadline_is_refused_with_the_prediction() -> None:
    bench = learned_bench()
    for number in range(3):
        bench.submit(prompt(number))
    bench.submit(prompt(3), deadline=bench.now + 9.9)
    with pytest.raises(
        DeadlineExceeded, match=r"predicted after \d+ ms, 4000 ms are left"
    ) as caught:
        bench.submit(prompt(4), deadline=bench.now + 4.0)
    assert int(caught.value.metadata["predicted_ms"]) == pytest.approx(10_000, rel=0.2)
    assert len(bench.scheduler.waiting) == 4
    bench.scheduler.check_integrity()


def test_a_cached_prompt_is_let_in() -> None:
    bench = learned_bench()
    bench.submit(prompt(0), max_tokens=1)
    bench.finish()
    with pytest.raises(DeadlineExceeded):
        bench.submit(prompt(1), deadline=bench.now + 1.5)
    bench.submit(prompt(0), deadline=bench.now + 1.5)


def test_prompts_that_were_cached_teach_that_others_will_be() -> None:
    bench = learned_bench()
    bench.submit(prompt(0), max_tokens=1)
    bench.finish()
    before_s = bench.pace.least_wait_s(ahead=320, own=0, running=[])
    for _ in range(20):
        bench.submit(prompt(0), max_tokens=1)
        bench.finish()
    assert bench.pace.least_wait_s(ahead=320, own=0, running=[]) < 0.6 * before_s


def test_only_what_goes_before_for_certain_counts() -> None:
    soon = 2.9
    bench = learned_bench(policy="priority")
    for number in range(3):
        bench.submit(prompt(number))
    bench.submit(prompt(3), deadline=bench.now + soon, priority=Priority.HIGH)
    bench = learned_bench(policy="fair")
    for number in range(3):
        bench.submit(prompt(number), salt="x")
    bench.submit(prompt(3), deadline=bench.now + soon, salt="y")
    with pytest.raises(DeadlineExceeded):
        bench.submit(prompt(4), deadline=bench.now + soon, salt="x")


def test_who_waits_for_an_adapter_does_not_count() -> None:
    bench = learned_bench()
    for number in range(3):
        bench.submit(prompt(number), digest="sha256:a")
    bench.plan()
    bench.submit(prompt(3), deadline=bench.now + 2.9)


def test_a_full_queue_says_when_to_come_back() -> None:
    bench = learned_bench(max_waiting=9, max_tenant_waiting=3)
    for number in range(3):
        bench.submit(prompt(number), salt="x")
    with pytest.raises(QueueFull, match="3 sequences of this tenant wait") as caught:
        bench.submit(prompt(3), salt="x")
    assert int(caught.value.metadata["retry_s"]) == pytest.approx(6, abs=1)
    bench.submit(prompt(3), salt="y")


@pytest.mark.parametrize(("num", "retry_s"), [(1, "1"), (50, "60")])
def test_the_hint_is_neither_at_once_nor_never(num: int, retry_s: str) -> None:
    bench = learned_bench(max_tenant_waiting=num)
    for _ in range(num):
        bench.submit([1] if num == 1 else prompt(num % 9))
    with pytest.raises(QueueFull) as caught:
        bench.submit([1])
    assert caught.value.metadata["retry_s"] == retry_s
