import pytest

from weft.server.engine.kv_cache import BlockAllocator
from weft.server.engine.tables import BlockTables

from .plans import BLOCK_TOKENS, sequence

PROMPT = range(1, 11)  # two full blocks and two tokens


class Cache:
    def __init__(self, num_blocks: int = 8) -> None:
        self.blocks = BlockAllocator(num_blocks)
        self.tables = BlockTables(self.blocks, block_tokens=BLOCK_TOKENS)


@pytest.fixture
def cache() -> Cache:
    return Cache()


def test_open_holds_blocks_for_what_the_budget_allows(cache: Cache) -> None:
    one = sequence(0, tokens=PROMPT)
    assert cache.tables.open(one, budget=5, spare=0) == 5
    assert len(one.blocks) == 2
    cache.tables.check_integrity([one])


def test_open_holds_nothing_where_blocks_are_spared_for_others(cache: Cache) -> None:
    one = sequence(0, tokens=PROMPT)
    assert not cache.tables.open(one, budget=64, spare=6)
    assert not one.blocks
    assert cache.tables.open(one, budget=64, spare=5) == len(PROMPT)


def test_full_blocks_are_found_by_the_next_holder(cache: Cache) -> None:
    first, second = sequence(0, tokens=PROMPT), sequence(1, tokens=PROMPT)
    cache.tables.open(first, budget=64, spare=0)
    assert not cache.tables.num_found(second)
    assert cache.tables.advance(first, 10)
    assert cache.tables.num_found(second) == 8
    assert cache.tables.open(second, budget=64, spare=0) == 2
    assert second.num_computed == 8
    assert second.blocks[:2] == first.blocks[:2]
    cache.tables.check_integrity([first, second])


def test_blocks_found_are_given_back_if_the_rest_does_not_fit() -> None:
    cache = Cache(num_blocks=3)
    first, second = sequence(0, tokens=PROMPT), sequence(1, tokens=PROMPT)
    cache.tables.open(first, budget=64, spare=0)
    cache.tables.advance(first, 10)
    assert not cache.tables.open(second, budget=64, spare=0)
    assert not second.blocks
    assert not second.num_computed
    cache.tables.check_integrity([first])


def test_the_last_token_is_always_computed(cache: Cache) -> None:
    first, second = sequence(0, tokens=range(8)), sequence(1, tokens=range(8))
    cache.tables.open(first, budget=64, spare=0)
    cache.tables.advance(first, 8)
    assert cache.tables.num_found(second) == 4


def test_advance_says_whether_a_block_became_full(cache: Cache) -> None:
    one = sequence(0, tokens=PROMPT)
    cache.tables.open(one, budget=64, spare=0)
    assert not cache.tables.advance(one, 3)
    assert cache.tables.advance(one, 4)
    assert not cache.tables.advance(one, 7)


def test_growth_is_all_or_nothing() -> None:
    cache = Cache(num_blocks=3)
    one = sequence(0, tokens=PROMPT)
    cache.tables.open(one, budget=4, spare=0)
    cache.tables.advance(one, 4)
    assert not cache.tables.has_room(one)
    assert not cache.tables.grow(one, 9)
    assert len(one.blocks) == 1
    assert cache.tables.grow(one, 8)
    assert cache.tables.has_room(one)
    assert len(one.blocks) == 3


def test_close_gives_all_back(cache: Cache) -> None:
    one = sequence(0, tokens=PROMPT)
    cache.tables.open(one, budget=64, spare=0)
    cache.tables.advance(one, 10)
    cache.tables.close(one)
    assert (one.blocks, one.num_computed) == ([], 0)
    assert cache.blocks.num_available == 8
    cache.tables.check_integrity([])
