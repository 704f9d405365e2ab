"""Checks hold for the engine as it is, and fail when something is wrong."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from weft.bench.bed import EXTRA_BASE_ROWS, Bed, digests_of, make_requests
from weft.bench.cases import mixed_case
from weft.bench.checks import (
    check_deltas,
    compare_answers,
    near_tie,
)
from weft.bench.driver import Answer
from weft.server.channel import TokenLogprobs

from .beds import make_tiny_bed


def run(bed: Bed, digests: Sequence[str | None], *, together: bool) -> list[Answer]:
    requests = make_requests(bed.prompts(len(digests), 9), digests, 6)
    if together:
        return list(bed.driver.run(requests, logprobs=5).answers)
    return [bed.driver.run([request], logprobs=5).answers[0] for request in requests]


@pytest.fixture(scope="module")
def digests(bed: Bed) -> list[str | None]:
    digests = [*digests_of(bed.rows(mixed_case(4, 3).places)), *[None] * EXTRA_BASE_ROWS]
    run(bed, digests, together=True)
    return digests


def test_every_site_adds_what_the_definition_adds(bed: Bed, digests: list[str | None]) -> None:
    deltas = check_deltas(bed.driver.engine, bed.model, digests)
    assert deltas.holds
    assert deltas.num_sites == 8
    assert 0 < deltas.error < 1e-6
    assert 0.1 < deltas.logits_std < 0.3
    bed.driver.engine.check_integrity()


def test_delta_of_other_matrices_is_found(tmp_path: Path) -> None:
    bed = make_tiny_bed(tmp_path)
    digests = digests_of(bed.rows(mixed_case(4, 3).places))
    run(bed, digests, together=True)
    engine = bed.driver.engine
    assert check_deltas(engine, bed.model, digests).holds
    a_at = engine.arena.table.a_at
    a_at[[0, 1]] = a_at[[1, 0]]  # not in the mirror, by which the definition goes
    deltas = check_deltas(engine, bed.model, digests)
    bed.driver.close()
    assert not deltas.holds
    assert 0.1 < deltas.error < 10


def test_mixed_answers_agree_with_those_alone(bed: Bed, digests: list[str | None]) -> None:
    limit = near_tie(bed.model, check_deltas(bed.driver.engine, bed.model, digests))
    alone, mixed = (run(bed, digests, together=together) for together in (False, True))
    agreement = compare_answers(mixed, alone, limit=limit)
    assert agreement.holds
    assert agreement.num_equal == agreement.num_requests == len(digests)


def test_row_with_another_adapter_does_not_agree(bed: Bed, digests: list[str | None]) -> None:
    limit = near_tie(bed.model, check_deltas(bed.driver.engine, bed.model, digests))
    swapped = [digests[1], digests[0], *digests[2:]]
    agreement = compare_answers(
        run(bed, swapped, together=True), run(bed, digests, together=True), limit=limit
    )
    assert not agreement.holds
    assert max(agreement.noise, agreement.gap) > 3 * limit


def answer(tokens: list[int], lead: float, *, other: int = 99, logprob: float = -1.0) -> Answer:
    """An answer whose every token leads `other` by `lead`."""
    entries = [TokenLogprobs(logprob, [t, other], [logprob, logprob - lead]) for t in tokens]
    return Answer(tokens, entries)


def test_answers_may_part_at_a_near_tie() -> None:
    agreement = compare_answers(
        [answer([1, 2, 3], 0.01, other=7)], [answer([1, 7, 5], 0.02, other=2)], limit=0.05
    )
    assert agreement.holds
    assert (agreement.num_requests, agreement.num_equal) == (1, 0)
    assert agreement.gap == pytest.approx(0.02)


def test_answers_may_not_part_where_one_token_leads() -> None:
    parted = [answer([1, 2], 0.01, other=7)], [answer([1, 7], 0.2, other=2)]
    assert not compare_answers(*parted, limit=0.05).holds


def test_token_that_the_other_run_did_not_have_in_sight_is_infinitely_far() -> None:
    parted = [answer([1, 2], 0.01, other=8)], [answer([1, 7], 0.01, other=2)]
    assert compare_answers(*parted, limit=0.05).gap == math.inf


def test_equal_tokens_of_other_probabilities_do_not_agree() -> None:
    pair = [answer([1, 2], 1.0, logprob=-1.0)], [answer([1, 2], 1.0, logprob=-1.2)]
    agreement = compare_answers(*pair, limit=0.05)
    assert agreement.num_equal == 1
    assert agreement.noise == pytest.approx(0.2)
    assert not agreement.holds
