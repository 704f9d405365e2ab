"""Beams of a sequence run in lockstep, share blocks, and are as they would be alone."""

from dataclasses import replace

import pytest

from weft.server.channel import Beams
from weft.server.engine.plan import Plan
from weft.server.engine.sequence import State
from weft.server.errors import RequestInvalid

from .plans import BLOCK_TOKENS, LIMITS, PRICES, Bench, search_alone


def prompt(length: int, *, first: int = 0) -> list[int]:
    return list(range(first, first + length))


def rows(plan: Plan) -> list[tuple[int, int, int]]:
    return [(c.sequence.request.stream, c.start, c.stop) for c in plan.chunks]


def test_a_prompt_is_computed_once_and_then_every_beam_has_its_row() -> None:
    bench = Bench()
    bench.submit(prompt(6), beams=Beams(3))
    bench.submit(prompt(2, first=50))
    assert rows(bench.step()) == [(1, 0, 6), (2, 0, 2)]
    assert rows(bench.step()) == [*[(1, 6, 7)] * 3, (2, 2, 3)]


def test_full_blocks_are_shared_and_the_last_is_copied_for_all_beams_but_one() -> None:
    bench = Bench()
    bench.submit(prompt(2 * BLOCK_TOKENS + 1), beams=Beams(4))
    bench.step()
    used = bench.blocks.num_blocks - bench.blocks.num_available
    plan = bench.plan()
    assert used == 3
    assert bench.blocks.num_blocks - bench.blocks.num_available == 2 + 4
    tables = [chunk.sequence.blocks for chunk in plan.chunks]
    assert len({tuple(table[:2]) for table in tables}) == 1
    assert len({table[2] for table in tables}) == 4
    sources = [chunk.source for chunk in plan.chunks]
    [kept] = [t[2] for t, source in zip(tables, sources, strict=True) if source is None]
    assert [source for source in sources if source is not None] == [kept] * 3


def test_beams_behind_a_full_block_copy_nothing() -> None:
    bench = Bench()
    bench.submit(prompt(BLOCK_TOKENS), beams=Beams(4))
    bench.step()
    assert [chunk.source for chunk in bench.plan().chunks] == [None] * 4


def test_a_table_is_another_list_when_what_the_device_knows_of_it_has_changed() -> None:
    bench = Bench()
    bench.submit(prompt(5), max_tokens=12, beams=Beams(4))
    known: dict[int, tuple[list[int], list[int]]] = {}
    while bench.scheduler.waiting or bench.scheduler.running:
        plan = bench.step()
        for chunk in plan.chunks:
            table = chunk.sequence.blocks
            before = known.get(id(chunk.sequence))
            if before is not None and before[0] is table and len(table) == len(before[1]):
                assert table == before[1]
            known[id(chunk.sequence)] = table, list(table)


def test_beams_are_planned_whole_or_not_at_all() -> None:
    bench = Bench(replace(LIMITS, max_batch_tokens=5))
    bench.submit(prompt(2), max_tokens=3)
    bench.submit(prompt(2, first=20), max_tokens=3)
    bench.submit(prompt(1, first=40), max_tokens=3, beams=Beams(4))
    numbers = [[row[0] for row in rows(bench.step())] for _ in range(6)]
    assert numbers == [[1, 2, 3], [1, 2], [1, 2], [3] * 4, [3] * 4, []]


def test_beams_count_as_rows_of_the_batch_from_their_admission_on() -> None:
    bench = Bench(replace(LIMITS, max_sequences=4))
    bench.submit(prompt(2), max_tokens=2)
    bench.submit(prompt(2, first=20), max_tokens=2, beams=Beams(4))
    bench.submit(prompt(2, first=40), max_tokens=2)
    numbers = [[row[0] for row in rows(bench.step())] for _ in range(5)]
    assert numbers == [[1], [1], [2], [2] * 4, [3]], "nobody goes before it for being narrower"


def test_preempted_beams_go_on_where_they_were() -> None:
    bench = Bench(num_blocks=13)
    for number in range(3):
        beams = Beams(4, 4, length_penalty=0.0)
        bench.submit(prompt(6, first=100 * number), max_tokens=9, beams=beams)
    preempted, requests = set(), {s.request.stream: s.request for s in bench.scheduler.waiting}
    while bench.scheduler.waiting or bench.scheduler.running:
        bench.step()
        preempted |= {
            s.num_generated for s in bench.scheduler.waiting if s.state is State.PREEMPTED
        }
    assert max(preempted) > 1
    assert len(requests) == 3
    for stream, request in requests.items():
        assert bench.hypotheses[stream] == search_alone(request)
    assert bench.blocks.num_available == 13


def test_beams_that_come_back_compute_what_they_share_once() -> None:
    bench = Bench()
    bench.submit(prompt(3), max_tokens=20, beams=Beams(2))
    for _ in range(12):
        bench.step()
    [sequence] = bench.scheduler.running
    group = sequence.group
    assert group is not None
    bench.scheduler._preempt(sequence, bench.now)
    shared = group.num_shared
    assert {tuple(beam.tokens[:shared]) for beam in group.beams} == {
        tuple(sequence.tokens[:shared])
    }
    assert len({beam.tokens[shared] for beam in group.beams}) == 2
    found = shared // BLOCK_TOKENS * BLOCK_TOKENS
    length = len(sequence.tokens)
    assert rows(bench.step()) == [(1, found, shared)]
    assert rows(bench.step()) == [(1, shared, length)] * 2


@pytest.mark.parametrize("preempted_after", [None, 3, 6])
def test_every_row_is_charged_once_and_again_after_preemption(preempted_after: int | None) -> None:
    bench = Bench()
    bench.submit(prompt(4), max_tokens=8, beams=Beams(4), salt="wide")
    for number in range(30):
        if number == preempted_after:
            bench.scheduler._preempt(bench.scheduler.running[0], bench.now)
        bench.step()
    assert bench.hypotheses
    rows_us = [PRICES.service_us(0, 1, context=4 + n, elements=0) for n in range(1, 8)]
    whole_us = PRICES.service_us(4, 0, context=4, elements=0) + 4 * sum(rows_us)
    taken_us = bench.ledger.taken_us("wide", None)[0]
    if preempted_after is None:
        assert taken_us == pytest.approx(whole_us)
    else:
        assert whole_us < taken_us < 2 * whole_us


def test_beams_that_can_never_fit_are_refused() -> None:
    bench = Bench(num_blocks=5)
    with pytest.raises(RequestInvalid, match="4 beams may need 9 KV blocks"):
        bench.submit(prompt(4), max_tokens=6, beams=Beams(4))
    assert not bench.scheduler.waiting
    bench.submit(prompt(4), max_tokens=6, beams=Beams(2))
    bench.finish()
    assert bench.hypotheses
