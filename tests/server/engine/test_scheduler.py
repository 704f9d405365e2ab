"""What runs when: budgets, order, preemption, prefixes, limits."""

import gc
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.server.channel import Priority
from weft.server.config import POLICIES, SchedulingConfig
from weft.server.engine.deadlines import KEPT
from weft.server.engine.plan import Chunk, Plan
from weft.server.engine.sequence import Sequence, State
from weft.server.errors import PromptTooLong

from .plans import BLOCK_TOKENS, IMAGE_SIZE, LIMITS, PRICES, Bench


def rows(plan: Plan) -> list[tuple[int, int, int]]:
    return [(c.sequence.request.stream, c.start, c.stop) for c in plan.chunks]


def prompt(length: int, *, first: int = 0) -> list[int]:
    return list(range(first, first + length))


def test_long_prompt_is_computed_in_chunks_beside_decodes() -> None:
    bench = Bench()
    bench.submit(prompt(3), max_tokens=10)
    bench.step()
    bench.submit(prompt(40, first=50))
    assert rows(bench.step()) == [(1, 3, 4), (2, 0, 15)]
    assert rows(bench.step()) == [(1, 4, 5), (2, 15, 30)]
    plan = bench.step()
    assert rows(plan) == [(1, 5, 6), (2, 30, 40)]
    assert [chunk.sequence.num_generated for chunk in plan.chunks] == [4, 1]


def test_budget_is_never_exceeded() -> None:
    bench = Bench(replace(LIMITS, max_batch_tokens=3))
    for length in (5, 1, 9, 2):
        bench.submit(prompt(length, first=100 * length))
    while bench.scheduler.waiting or bench.scheduler.running:
        assert 0 < bench.step().num_tokens <= 3


def test_sequences_are_admitted_in_order_of_arrival_up_to_the_limit() -> None:
    bench = Bench(replace(LIMITS, max_sequences=2))
    for _ in range(3):
        bench.submit(prompt(2))
    assert [row[0] for row in rows(bench.step())] == [1, 2]
    bench.finish()
    assert list(bench.tokens) == [1, 2, 3]


def test_higher_class_is_admitted_first_but_waiting_counts() -> None:
    limits = replace(LIMITS, max_sequences=1)
    bench = Bench(limits, scheduling=SchedulingConfig(policy="priority", ageing_s=5.0))
    classes = [Priority.NORMAL, Priority.LOW, Priority.NORMAL, Priority.HIGH]
    for number, priority in enumerate(classes):
        bench.submit(prompt(2, first=10 * number), max_tokens=2, priority=priority)
    bench.now = 5.5
    bench.submit(prompt(2, first=90), max_tokens=1, priority=Priority.NORMAL)
    bench.finish()
    assert list(bench.tokens) == [4, 1, 3, 2, 5]


def test_higher_class_goes_before_a_prefill_under_way() -> None:
    bench = Bench(scheduling=SchedulingConfig(policy="priority"))
    bench.submit(prompt(40))
    bench.step()
    bench.submit(prompt(3, first=90), priority=Priority.LOW)
    bench.submit(prompt(5, first=80), priority=Priority.HIGH)
    assert rows(bench.step()) == [(3, 0, 5), (1, 16, 27)]
    assert rows(bench.step()) == [(3, 5, 6), (1, 27, 40), (2, 0, 2)]


def test_lower_class_gives_its_blocks_to_a_higher_that_came_later() -> None:
    bench = Bench(num_blocks=9, scheduling=SchedulingConfig(policy="priority"))
    bench.submit(prompt(7), max_tokens=20, priority=Priority.LOW)
    bench.submit(prompt(7, first=100), max_tokens=20)
    bench.finish()
    assert list(bench.tokens) == [2, 1]


FAIR = SchedulingConfig(policy="fair")


def served(bench: Bench, *, steps: int) -> dict[str, int]:
    """Prompt and answer tokens that each tenant's sequences got in so many steps."""
    tokens: dict[str, int] = {}
    for _ in range(steps):
        for chunk in bench.step().chunks:
            tenant = chunk.sequence.tenant
            tokens[tenant] = tokens.get(tenant, 0) + chunk.stop - chunk.start
    return tokens


def test_backlogged_tenants_get_equal_shares_whatever_they_send() -> None:
    bench = Bench(replace(LIMITS, max_sequences=2, max_waiting=80), scheduling=FAIR)
    for number in range(60):
        bench.submit(prompt(6, first=100 + number), salt="flood", max_tokens=6)
    for number in range(20):
        bench.submit(prompt(6, first=500 + number), salt="modest", max_tokens=6)
    tokens = served(bench, steps=100)
    assert tokens["modest"] > 0.85 * tokens["flood"]
    bench.finish()


def test_backlogged_adapters_of_a_tenant_get_equal_shares() -> None:
    bench = Bench(replace(LIMITS, max_sequences=2), scheduling=FAIR)
    for number in range(40):
        bench.submit(prompt(6, first=100 + number), digest="sha256:hot", max_tokens=6)
    cold = [bench.submit(prompt(6, first=500), digest="sha256:cold") for _ in range(3)]
    while not set(cold) <= bench.tokens.keys():
        bench.step()
    assert len(bench.tokens) < 10
    bench.finish()


def test_a_prompt_counts_in_the_plan_that_admits_it() -> None:
    bench = Bench(scheduling=FAIR)
    for first, tenant in ((0, "x"), (100, "x"), (200, "y")):
        bench.submit(prompt(8, first=first), salt=tenant)
    assert [c.sequence.tenant for c in bench.step().chunks] == ["x", "y"]


def test_nobody_waits_while_there_is_room() -> None:
    bench = Bench(replace(LIMITS, max_sequences=4), scheduling=FAIR)
    for number in range(9):
        bench.submit(prompt(3, first=10 * number), salt="only")
    while bench.scheduler.waiting:
        assert len(bench.step().chunks) == 4 or not bench.scheduler.waiting
    bench.finish()


def test_long_prompts_of_two_tenants_take_turns() -> None:
    bench = Bench(scheduling=FAIR)
    bench.submit(prompt(50), salt="x", max_tokens=1)
    bench.step()
    bench.submit(prompt(50, first=500), salt="y", max_tokens=1)
    owners = [[c.sequence.tenant for c in bench.step().chunks] for _ in range(3)]
    assert owners[0] == ["y"]
    assert "x" in owners[1] + owners[2]
    bench.finish()


def test_tenant_pays_for_prompt_load_and_every_step_to_the_last() -> None:
    bench = Bench(scheduling=FAIR)
    bench.submit(prompt(10), digest="sha256:a", max_tokens=8, salt="x")
    bench.step()
    reads_us = IMAGE_SIZE * PRICES.element_us
    bill_us = IMAGE_SIZE * PRICES.load_us + 10 * (PRICES.prefill_us + PRICES.kv_us) + reads_us
    assert bench.ledger.taken_us("x", "sha256:a") == (bill_us, bill_us)
    bench.finish()
    for num, context in ((2, 12), (4, 16), (1, 17)):  # charged by the block
        bill_us += num * (PRICES.decode_us + context * PRICES.kv_us + reads_us)
    assert bench.ledger.taken_us("x", "sha256:a") == (bill_us, bill_us)


def test_chunks_shrink_as_the_context_grows_dear_and_never_to_nothing() -> None:
    limits = replace(
        LIMITS,
        max_context=2000,
        max_batch_tokens=480,
        min_batch_tokens=60,
        target_step_s=0.040,
    )
    bench = Bench(limits, num_blocks=500)
    for i in range(400):  # 10 ms, 0.1 ms a token, 0.05 ms a token of the context
        num, context = 1 + 37 * i % 400, 211 * i % 900
        bench.step_time.observe(num, context, 0.010 + 0.0001 * num + 0.00005 * context)
    bench.submit(prompt(200), max_tokens=40)
    assert bench.step().num_tokens == 200
    bench.submit(prompt(600, first=100), max_tokens=1)
    sizes = [bench.step().num_tokens for _ in range(4)]
    assert sizes == pytest.approx([200, 100, 60, 60], abs=5)
    bench.finish()


@pytest.mark.parametrize("num_decodes", [1, 5])
def test_a_target_that_cannot_be_met_cuts_no_decode_and_stops_no_prompt(num_decodes: int) -> None:
    bench = Bench(replace(LIMITS, max_batch_tokens=32, target_step_s=1e-9))
    for number in range(num_decodes):
        bench.submit([900 + number], max_tokens=40)
    while bench.scheduler.waiting:
        bench.step()
    bench.submit(prompt(40), max_tokens=1)
    assert bench.step().num_tokens == num_decodes + BLOCK_TOKENS
    bench.finish()


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("tenant", ["flood", "quiet"])
@pytest.mark.parametrize(
    ("hot", "cold", "arena_images"),
    [([None], None, 1), (["sha256:a"], "sha256:b", 2), (["sha256:a", "sha256:b"], "sha256:c", 1)],
    ids=["base", "resident", "one of three fits"],
)
def test_nobody_starves_while_a_flood_of_a_higher_class_goes_on(
    policy: str, tenant: str, hot: list[str | None], cold: str | None, arena_images: int
) -> None:
    bench = Bench(
        replace(LIMITS, max_sequences=2),
        arena_images=arena_images,
        scheduling=SchedulingConfig(policy=policy, ageing_s=5.0),
    )
    low = None
    for step in range(200):
        while len(bench.scheduler.waiting) < 6:
            number = bench.arrivals
            tokens, digest = prompt(5, first=number % 900), hot[number % len(hot)]
            bench.submit(tokens, digest=digest, salt="flood", priority=Priority.HIGH)
        if step == 5:
            low = bench.submit([1], digest=cold, salt=tenant, priority=Priority.LOW)
        bench.step()
        if low in bench.tokens:
            return
    raise AssertionError(f"{len(bench.tokens)} others ended, and the low one has not")


GATHERING = SchedulingConfig(policy="fcfs", window_ms=3000, window_tokens=12)


def test_admissions_gather_beside_decodes_until_the_window_has_passed() -> None:
    bench = Bench(scheduling=GATHERING)
    bench.submit(prompt(12), max_tokens=30)
    assert rows(bench.step()) == [(1, 0, 12)]
    bench.submit(prompt(3, first=100))
    bench.submit(prompt(3, first=200))
    submitted_at = bench.now
    for at in (12, 13):
        assert rows(bench.step()) == [(1, at, at + 1)]
        assert bench.scheduler.opens_at == submitted_at + 3
    assert rows(bench.step()) == [(1, 14, 15), (2, 0, 3), (3, 0, 3)]
    assert bench.scheduler.opens_at is None


def test_enough_tokens_open_the_window() -> None:
    bench = Bench(scheduling=GATHERING)
    bench.submit(prompt(11))
    assert rows(bench.step()) == []
    bench.submit([700])
    assert rows(bench.step()) == [(1, 0, 11), (2, 0, 1)]


def test_a_deadline_opens_the_window() -> None:
    bench = Bench(scheduling=GATHERING)
    bench.submit(prompt(3), deadline=bench.now + 2)
    assert rows(bench.step()) == []
    assert bench.scheduler.opens_at == 2
    assert rows(bench.step()) == [(1, 0, 3)]


def test_who_waits_for_an_adapter_opens_no_window() -> None:
    bench = Bench(scheduling=GATHERING)
    bench.submit(prompt(12), digest="sha256:a")
    bench.submit([700])
    assert rows(bench.plan()) == []
    bench.load()
    assert rows(bench.plan()) == [(1, 0, 12), (2, 0, 1)]


def test_waiting_adapter_holds_nobody_up() -> None:
    bench = Bench()
    bench.submit(prompt(2), digest="sha256:a")
    bench.submit(prompt(2))
    assert [row[0] for row in rows(bench.plan())] == [2]
    assert bench.scheduler.waiting[0].state is State.LOADING
    bench.load()
    assert 1 in [row[0] for row in rows(bench.plan())]


def test_long_prompt_at_the_head_keeps_its_blocks_from_the_young() -> None:
    bench = Bench(num_blocks=16)
    bench.submit(prompt(28), max_tokens=20)
    bench.step()
    bench.step()
    bench.submit(prompt(40, first=500), max_tokens=20)
    bench.submit([9], max_tokens=1)
    bench.blocks.hold(held := [bench.blocks.allocate() for _ in range(6)])
    bench.blocks.release(held)
    bench.plan()
    assert bench.scheduler.lacks_blocks
    assert [s.request.stream for s in bench.scheduler.waiting] == [2, 3]
    bench.blocks.release(held)
    bench.finish()


def test_latest_arrival_gives_way_and_keeps_its_tokens() -> None:
    alone = {}
    for stream in (1, 2):
        bench = Bench()
        for number in (1, 2):
            if number == stream:
                bench.submit(prompt(7, first=100 * number), max_tokens=20)
                bench.finish()
                alone[stream] = bench.tokens[1]
    bench = Bench(num_blocks=9)
    for number in (1, 2):
        bench.submit(prompt(7, first=100 * number), max_tokens=20)
    preempted = False
    while bench.scheduler.running or bench.scheduler.waiting:
        bench.step()
        preempted |= any(s.state is State.PREEMPTED for s in bench.scheduler.waiting)
        assert 1 in [s.request.stream for s in bench.scheduler.running] or 1 in bench.tokens
    assert preempted
    assert bench.tokens == alone


def test_admissions_leave_the_watermark_to_running_sequences() -> None:
    limits = replace(LIMITS, max_context=2000, max_batch_tokens=2000)
    bench = Bench(limits, num_blocks=200)
    bench.submit(prompt(190 * BLOCK_TOKENS), max_tokens=9)
    bench.step()
    bench.submit(prompt(8 * BLOCK_TOKENS, first=900), max_tokens=9)
    bench.step()
    assert bench.scheduler.lacks_blocks
    bench.submit(prompt(7 * BLOCK_TOKENS, first=800), max_tokens=9)
    bench.scheduler.finish(bench.scheduler.waiting[0])
    assert len(bench.step().chunks) == 2


def test_decodes_go_before_an_older_prefill_under_way() -> None:
    bench = Bench(replace(LIMITS, max_batch_tokens=4))
    bench.submit(prompt(40), digest="sha256:a")
    bench.submit(prompt(2), max_tokens=20)
    bench.run(bench.plan())
    bench.load()
    bench.run(bench.plan())
    assert rows(bench.plan()) == [(2, 3, 4), (1, 3, 6)]


def test_preempted_sequence_finds_its_full_blocks_again() -> None:
    bench = Bench(num_blocks=9)
    for number in (1, 2):
        bench.submit(prompt(7, first=100 * number), max_tokens=20)
    while not any(s.state is State.PREEMPTED for s in bench.scheduler.waiting):
        bench.step()
    second = bench.scheduler.waiting[0]
    while second.state is State.PREEMPTED:
        plan = bench.step()
    chunk = next(chunk for chunk in plan.chunks if chunk.sequence is second)
    assert chunk.start > 0


def test_prefix_of_an_earlier_prompt_is_not_computed_again() -> None:
    bench = Bench()
    bench.submit(prompt(11), max_tokens=1)
    bench.finish()
    bench.submit(prompt(11), max_tokens=1)
    assert rows(bench.step()) == [(2, 8, 11)]


def test_at_least_one_token_is_computed() -> None:
    bench = Bench()
    for _ in range(2):
        bench.submit(prompt(2 * BLOCK_TOKENS), max_tokens=1)
        plan = bench.step()
    assert rows(plan) == [(2, BLOCK_TOKENS, 2 * BLOCK_TOKENS)]


@pytest.mark.parametrize("other", [{"digest": "sha256:b"}, {"digest": None}, {"salt": "other"}])
def test_prefix_never_crosses_digests_or_salts(other: dict[str, str | None]) -> None:
    bench = Bench()
    bench.submit(prompt(11), digest="sha256:a", max_tokens=1)
    bench.finish()
    terms = {"digest": "sha256:a", "salt": ""} | other
    bench.submit(prompt(11), digest=terms["digest"], salt=terms["salt"] or "", max_tokens=1)
    assert rows(bench.step()) == [(2, 0, 11)]


def test_finished_sequence_gives_back_blocks_and_slot() -> None:
    bench = Bench()
    bench.submit(prompt(5), digest="sha256:a", max_tokens=9)
    bench.step()
    [sequence] = bench.scheduler.running
    bench.scheduler.finish(sequence)
    assert bench.blocks.num_available == bench.blocks.num_blocks
    bench.scheduler.check_integrity()
    bench.residency.forget("sha256:a")
    assert bench.residency.resident == []


def test_sequence_finished_between_plan_and_advance_is_passed_over() -> None:
    bench = Bench()
    for number in (1, 2):
        bench.submit(prompt(3, first=10 * number), max_tokens=1)
    plan = bench.plan()
    bench.scheduler.finish(plan.chunks[0].sequence)
    assert [ended.sequence.request.stream for ended in bench.run(plan)] == [2]
    bench.scheduler.check_integrity()


def test_stop_token_ends_a_sequence() -> None:
    bench = Bench()
    bench.submit(prompt(3), max_tokens=9)
    bench.finish()
    second = bench.tokens[1][4]
    bench.submit(prompt(3), max_tokens=9, stop_tokens=frozenset([second]))
    bench.load()
    bench.run(bench.plan())
    assert [ended.reason for ended in bench.run(bench.plan())] == ["stop"]
    assert bench.tokens[2] == bench.tokens[1][:5]


def test_refused_request_leaves_no_adapter_wanted() -> None:
    bench = Bench()
    with pytest.raises(PromptTooLong):
        bench.submit(prompt(64), digest="sha256:a")
    assert bench.residency.take_commands() == []


def test_deadlines_are_told_once_for_the_living() -> None:
    bench = Bench()
    for deadline in (5.0, 3.0, 9.0, None, 2.0):
        bench.submit([1], deadline=deadline, max_tokens=60)
    bench.step()
    bench.scheduler.finish(bench.scheduler.running[-1])
    assert [s.request.stream for s in bench.scheduler.expired(6.0)] == [2, 1]
    assert list(bench.scheduler.expired(6.0)) == []


def test_finished_sequences_are_not_kept_until_their_deadline() -> None:
    bench = Bench()
    long = bench.submit([1], deadline=1000.0, max_tokens=60)
    for _ in range(2 * KEPT):
        bench.submit([1], deadline=2000.0, max_tokens=1)
        bench.scheduler.finish(bench.scheduler.waiting[-1])
    bench.step()
    deadlines = [s.request.deadline for s in gc.get_objects() if type(s) is Sequence]
    assert deadlines.count(2000.0) <= KEPT + 2
    assert [s.request.stream for s in bench.scheduler.expired(1500.0)] == [long]


def test_more_adapters_than_fit_all_finish_while_a_hot_one_keeps_coming() -> None:
    bench = Bench(arena_images=1)
    for stream in range(60):
        bench.submit([stream + 1], digest="sha256:hot", max_tokens=5)
    cold = bench.submit([77], digest="sha256:cold", max_tokens=2)
    steps = 0
    while cold not in bench.tokens:
        bench.submit([500 + steps], digest="sha256:hot", max_tokens=5) if steps % 2 else None
        bench.step()
        steps += 1
        assert steps < 60
    bench.finish()


def test_parked_sequence_goes_on_where_it_was() -> None:
    alone = Bench()
    alone.submit(prompt(9), digest="sha256:a", max_tokens=40)
    alone.finish()
    bench = Bench(arena_images=1)
    bench.step_s = 0.07
    bench.submit(prompt(9), digest="sha256:a", max_tokens=40)
    bench.submit(prompt(9, first=500), digest="sha256:b", max_tokens=40)
    starts: dict[int, int] = {1: 0, 2: 0}
    while bench.scheduler.waiting or bench.scheduler.running:
        for stream, start, stop in rows(bench.step()):
            assert start == starts[stream], "a token is computed twice, or never"
            starts[stream] = stop
    assert bench.scheduler.num_parks > 10
    assert bench.tokens[1] == alone.tokens[1]


def test_finished_while_parked_gives_back_its_blocks() -> None:
    bench = Bench(arena_images=1)
    bench.submit(prompt(9), digest="sha256:a", max_tokens=40)
    bench.step()
    bench.submit([5], digest="sha256:b", max_tokens=40)
    bench.step()
    bench.step()
    [parked] = [s for s in bench.scheduler.waiting if s.state is State.PARKED]
    bench.scheduler.finish(parked)
    bench.scheduler.check_integrity()
    assert parked.blocks == []
    bench.finish()
    assert bench.blocks.num_available == bench.blocks.num_blocks


def test_blocks_of_a_parked_sequence_go_to_one_before_it_only() -> None:
    bench = Bench(arena_images=1, num_blocks=16)
    bench.submit(prompt(40), digest="sha256:old", max_tokens=20)
    bench.submit(prompt(9, first=100), digest="sha256:young", max_tokens=20)
    bench.submit(prompt(30, first=200), digest="sha256:last", max_tokens=30)
    lost = set()
    while bench.scheduler.waiting or bench.scheduler.running:
        bench.step()
        lost |= {s.request.stream for s in bench.scheduler.waiting if s.state is State.PREEMPTED}
        assert bench.now < 300
    assert next(iter(bench.tokens)) == 1
    assert 1 not in lost
    assert lost


def test_running_sequence_grows_at_the_cost_of_a_younger_parked_one() -> None:
    bench = Bench(arena_images=1, num_blocks=10)
    bench.step_s = 0.02
    bench.submit(prompt(13), digest="sha256:a", max_tokens=16)
    bench.submit(prompt(5, first=100), digest="sha256:b", max_tokens=16)
    starts: dict[int, list[int]] = {1: [], 2: []}
    while bench.scheduler.waiting or bench.scheduler.running:
        for stream, start, _ in rows(bench.step()):
            starts[stream].append(start)
    assert starts[1] == [0, *range(13, 28)]
    assert starts[2] != sorted(starts[2])


def test_base_row_without_blocks_lets_the_adapter_of_parked_ones_back() -> None:
    bench = Bench(arena_images=1, num_blocks=16)
    bench.submit(prompt(40), digest="sha256:a", max_tokens=20)
    bench.step()
    bench.submit(prompt(50, first=100), max_tokens=9)
    bench.submit([7], digest="sha256:b", max_tokens=9)
    bench.finish()
    assert list(bench.tokens) == [1, 2, 3]


def test_two_prompts_that_displace_each_other_let_the_adapter_of_parked_ones_back() -> None:
    bench = Bench(arena_images=1, num_blocks=12)
    bench.submit(prompt(16), digest="sha256:a", max_tokens=20)
    bench.step()
    bench.submit(prompt(30, first=100), max_tokens=9, salt="one")
    bench.submit(prompt(20, first=200), max_tokens=9, salt="other")
    bench.submit([7], digest="sha256:b", max_tokens=9)
    bench.finish()
    assert bench.scheduler.num_parks > 0


def test_parked_sequence_goes_on_though_a_tenant_who_lacks_blocks_is_before_it() -> None:
    bench = Bench(arena_images=1, num_blocks=16, scheduling=SchedulingConfig(policy="fair"))
    bench.submit(prompt(40), digest="sha256:a", max_tokens=20, salt="greedy")
    bench.step()
    bench.submit([7], digest="sha256:b", max_tokens=9, salt="greedy")
    bench.step()
    bench.submit(prompt(50, first=100), max_tokens=9, salt="modest")
    bench.finish()
    assert bench.scheduler.num_parks > 0


@pytest.mark.parametrize("policy", POLICIES)
def test_who_lost_its_blocks_does_not_go_before_who_took_them_for_ever(policy: str) -> None:
    limits = replace(LIMITS, max_batch_tokens=4, max_sequences=4)
    scheduling = SchedulingConfig(policy=policy)
    bench = Bench(limits, arena_images=2, num_blocks=12, scheduling=scheduling)
    bench.submit(prompt(35), max_tokens=3, digest="sha256:b")
    bench.submit(prompt(25, first=100), max_tokens=8, digest="sha256:a")
    bench.submit(prompt(35, first=200), max_tokens=8)
    bench.finish()


requests = st.lists(
    st.tuples(st.integers(1, 40), st.integers(1, 20), st.sampled_from([None, "a", "b", "c"])),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(
    requests=requests,
    num_blocks=st.integers(15, 40),
    budget=st.integers(1, 40),
    max_sequences=st.integers(1, 8),
    arena_images=st.integers(1, 3),
)
def test_everything_finishes_with_its_own_tokens_under_any_budget(
    requests: list[tuple[int, int, str | None]],
    num_blocks: int,
    budget: int,
    max_sequences: int,
    arena_images: int,
) -> None:
    roomy = Bench(replace(LIMITS, max_batch_tokens=1000))
    tight = Bench(
        replace(LIMITS, max_batch_tokens=budget, max_sequences=max_sequences),
        num_blocks=num_blocks,
        arena_images=arena_images,
    )
    for length, max_tokens, digest in requests:
        for bench in (roomy, tight):
            bench.submit(prompt(length, first=length), digest=digest, max_tokens=max_tokens)
    roomy.finish()
    tight.finish(max_steps=5000)
    assert tight.tokens == roomy.tokens
    assert tight.blocks.num_available == num_blocks


def test_step_that_follows_has_one_more_token_of_whoever_does_not_end_for_certain() -> None:
    bench = Bench()
    for start, max_tokens in ((0, 9), (10, 2), (20, 9)):
        bench.submit([start, start + 1, start + 2], max_tokens=max_tokens)
    bench.step()
    plan = bench.plan()
    bench.scheduler.launched(plan)
    following = bench.plan(after=plan)
    assert following.follows == (0, 2)
    assert [(c.start, c.stop, c.position, c.draws) for c in following.chunks] == [
        (4, 5, 2, True)
    ] * 2
    assert [len(chunk.sequence.blocks) for chunk in following.chunks] == [2, 2]
    bench.land(plan)
    bench.scheduler.check_integrity()
    bench.run(following)
    assert [s.num_generated for s in bench.scheduler.running] == [3, 3]


def test_a_prompt_under_way_goes_on_in_a_step_that_follows() -> None:
    bench = Bench(replace(LIMITS, max_batch_tokens=6))
    bench.submit([1], max_tokens=9)
    bench.submit([2], max_tokens=9)
    bench.step()
    bench.submit(list(range(9)))
    plan = bench.plan()
    bench.scheduler.launched(plan)
    assert bench.scheduler.running[2].num_computed == 4
    following = bench.plan(after=plan)
    assert following.follows == (0, 1, None)
    assert [(chunk.start, chunk.stop) for chunk in following.chunks] == [(2, 3), (2, 3), (4, 8)]
    bench.scheduler.launched(following)
    bench.land(plan)
    bench.scheduler.check_integrity()
    assert bench.scheduler.running[2].num_computed == 8, "what is launched stays so"


def test_who_loses_its_blocks_in_flight_draws_that_token_again() -> None:
    roomy, bench = Bench(), Bench(num_blocks=4)
    for target in (roomy, bench):
        target.submit([1, 2, 3], max_tokens=9)
        target.submit([4, 5, 6], max_tokens=9)
    roomy.finish()
    plan = bench.plan()
    bench.scheduler.launched(plan)
    while len(bench.scheduler.running) == 2:
        following = bench.plan(after=plan)
        bench.scheduler.launched(following)
        lost = bench.scheduler.waiting
        num_before = [len(sequence.tokens) for sequence in lost]
        bench.land(plan)
        bench.scheduler.check_integrity()
        plan = following
    assert [len(sequence.tokens) for sequence in lost] == num_before, "its draw is passed over"
    bench.land(plan)
    bench.finish()
    assert bench.tokens == roomy.tokens


def test_who_is_back_at_once_takes_nothing_from_the_step_in_flight() -> None:
    """Preempted and admitted again in the very plan that follows."""
    bench = Bench(num_blocks=8)
    bench.submit([1, 2, 3], max_tokens=9)
    plan = bench.plan()
    bench.scheduler.launched(plan)
    [sequence] = bench.scheduler.running
    bench.scheduler._preempt(sequence, bench.now)
    following = bench.plan(after=plan)
    assert following.follows == ()
    assert [(chunk.start, chunk.stop) for chunk in following.chunks] == [(0, 3)]
    bench.scheduler.launched(following)
    bench.land(plan)
    assert sequence.num_generated == 0
    bench.land(following)
    assert sequence.num_generated == 1
    bench.scheduler.check_integrity()


def test_who_was_parked_goes_on_in_a_step_that_follows() -> None:
    bench = Bench()
    bench.submit([1, 2, 3], max_tokens=9)
    bench.submit([4, 5, 6], digest="sha256:a", max_tokens=9)
    bench.load()
    bench.step()
    bench.scheduler.park("sha256:a", bench.now)
    [base] = bench.scheduler.running
    in_flight = Plan((Chunk(base, base.num_computed, base.num_computed + 1),))
    following = bench.plan(after=in_flight)
    assert following.follows == (0, None)
    assert [(chunk.start, chunk.stop) for chunk in following.chunks] == [(4, 5), (3, 4)]


def test_who_ends_in_flight_and_loses_its_blocks_leaves_one_place_not_two() -> None:
    bench = Bench(replace(LIMITS, max_sequences=2), num_blocks=4)
    bench.submit([1, 2, 3], max_tokens=9)
    for start in (10, 20):
        bench.submit([start], digest="sha256:a", max_tokens=9)
    bench.submit(list(range(30, 39)), max_tokens=2)
    bench.run(bench.plan())
    plan = bench.plan()
    assert [chunk.ends for chunk in plan.chunks] == [False, True]
    bench.scheduler.launched(plan)
    bench.load()
    following = bench.plan(after=plan)
    assert [chunk.sequence.arrival for chunk in following.chunks] == [1, 2]
    assert following.follows == (0, None)
    assert len(bench.scheduler.running) == 2
