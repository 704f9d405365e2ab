"""Who is charged for what, and how often."""

from weft.server.engine.ledger import Ledger
from weft.server.engine.residency import Residency
from weft.server.engine.sequence import Sequence

from .plans import FRONT, PRICES, sequence


def make_ledger(*, image_size: int = 8) -> Ledger:
    """A ledger beside a residency where adapter `a` lies in the arena."""
    residency = Residency(64, host_elements=64, num_slots=4, element_bytes=32)
    residency.want("a", FRONT, now=0.0)
    residency.ready("a", "/cache/a")
    residency.opened("a", image_size)
    residency.place(0.0)
    residency.copied("a")
    residency.acquire("a", now=0.0)
    residency.want("a", FRONT, now=0.0)
    return Ledger(PRICES, residency)


def taken_us(ledger: Ledger, sequence: Sequence) -> float:
    tenant_us, adapter_us = ledger.taken_us(sequence.tenant, sequence.digest)
    assert tenant_us == adapter_us
    return tenant_us


def test_a_token_is_charged_once_though_it_is_computed_again() -> None:
    ledger, base = make_ledger(), sequence(0, tokens=range(10))
    ledger.serve(base, 10)
    prompt_us = 10 * PRICES.prefill_us + 10 * PRICES.kv_us
    assert taken_us(ledger, base) == prompt_us
    ledger.serve(base, 6)
    ledger.serve(base, 10)
    assert taken_us(ledger, base) == prompt_us
    ledger.serve(base, 12)
    assert taken_us(ledger, base) == prompt_us + 2 * (PRICES.decode_us + 12 * PRICES.kv_us)


def test_reading_the_adapter_costs_its_size_in_every_step() -> None:
    ledger, base, adapted = make_ledger(), sequence(0, tenant="x"), sequence(1, digest="a")
    for each in (base, adapted):
        ledger.serve(each, 5)
    steps = 3  # a prompt of 3 tokens, then 2 decodes
    difference = taken_us(ledger, adapted) - taken_us(ledger, base)
    assert difference == steps * 8 * PRICES.element_us


def test_sequences_of_one_adapter_share_its_price() -> None:
    alone, shared = make_ledger(), make_ledger()
    shared._residency.acquire("a", now=0.0)
    for ledger in (alone, shared):
        ledger.serve(sequence(0, digest="a"), 3)
    prompt_us = 3 * PRICES.prefill_us + 3 * PRICES.kv_us
    found = [taken_us(ledger, sequence(0, digest="a")) - prompt_us for ledger in (alone, shared)]
    assert found == [8 * PRICES.element_us, 4 * PRICES.element_us]


def test_the_first_who_asked_pays_for_the_load_once() -> None:
    ledger = make_ledger()
    first, second = sequence(0, tenant="x", digest="a"), sequence(1, tenant="y", digest="a")
    for each in (first, second):
        ledger.order_load(each)
    ledger.admit(second)
    ledger.admit(first)
    assert (taken_us(ledger, first), taken_us(ledger, second)) == (8 * PRICES.load_us, 0.0)


def test_cached_tokens_cost_little_and_once() -> None:
    ledger, base = make_ledger(), sequence(0, tokens=range(10))
    base.num_computed = 8
    ledger.admit(base)
    ledger.admit(base)
    assert taken_us(ledger, base) == 8 * PRICES.cached_us
