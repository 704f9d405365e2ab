"""A soak is judged by what would be a leak, a restart or a wrong token."""

from collections import Counter
from collections.abc import Mapping

from weft.bench.record import Check
from weft.bench.soak.churn import Tally
from weft.bench.soak.verdict import check_soak
from weft.bench.soak.watch import Holding, Rest

TALLY = Tally(Counter(use=3), 30, [])


def resting(
    *, rss: float = 100, files: int = 9, pid: int = 7, busy: Mapping[str, float] | None = None
) -> Rest:
    return Rest({"engine": Holding(rss, files, 4)}, {"engine": pid}, busy or {}, 0.0)


def wrong(checks: list[Check]) -> list[str]:
    return [check.name for check in checks if not check.holds]


def test_a_server_that_stays_as_it_is_holds() -> None:
    checks = check_soak(TALLY, [resting()] * 8, "all is well")
    assert wrong(checks) == []
    assert "3 acts, 30 tokens compared" in checks[0].text


def test_a_wrong_token_is_named() -> None:
    tally = Tally(Counter(use=3), 30, ["a1: token 2 of 8 differs"])
    checks = check_soak(tally, [resting()] * 8, "")
    assert wrong(checks) == ["answers as to single requests"]
    assert "a1: token 2 of 8 differs" in checks[0].text


def test_blocks_restarts_and_failed_checks_are_in_the_books() -> None:
    for rests, log in (
        ([resting(), resting(busy={"weft_running_sequences": 1})], ""),
        ([resting(), resting(pid=8)], ""),
        ([resting()], "AssertionError"),
    ):
        assert wrong(check_soak(TALLY, rests, log)) == ["the engine's books"]


def test_files_may_not_grow() -> None:
    rests = [resting(files=9 + i) for i in range(10)]
    assert wrong(check_soak(TALLY, rests, "")) == ["files and threads"]


def test_memory_may_grow_while_a_server_warms_up_only() -> None:
    warming = [resting(rss=100), resting(rss=400), *[resting(rss=500)] * 6]
    assert wrong(check_soak(TALLY, warming, "")) == []
    leaking = [resting(rss=100 + 20 * i) for i in range(8)]
    assert wrong(check_soak(TALLY, leaking, "")) == ["memory"]
