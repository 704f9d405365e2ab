"""The block allocator: laws under a state machine, and the facts that requests rely on."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from weft.server.engine.kv_cache import BlockAllocator, block_key, root_key

NUM_BLOCKS = 12
ROOT = root_key("sha256:base", None, precision="float32", salt="")


def chain(contents: list[int], root: bytes = ROOT) -> list[bytes]:
    """Keys of a chain whose i-th block holds the tokens [contents[i]]."""
    keys: list[bytes] = []
    for content in contents:
        keys.append(block_key(keys[-1] if keys else root, [content]))
    return keys


def compute(blocks: BlockAllocator, contents: list[int], root: bytes = ROOT) -> list[int]:
    """Hold a chain: what is known of it, and newly computed blocks for the rest."""
    keys = chain(contents, root)
    table = blocks.find(keys)
    blocks.hold(table)
    for i in range(len(table), len(keys)):
        block = blocks.allocate()
        table.append(blocks.enter(block, keys[i], parent=keys[i - 1] if i else None))
    return table


class BlockLaws(RuleBasedStateMachine):
    """Sequences over a tiny alphabet start, grow, enter their blocks late, and end."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = BlockAllocator(NUM_BLOCKS)
        self.tables: list[list[int]] = []
        self.contents: list[list[int]] = []
        self.num_entered: list[int] = []

    @rule(contents=st.lists(st.integers(0, 1), max_size=5))
    def start(self, contents: list[int]) -> None:
        table = self.blocks.find(chain(contents))
        self.blocks.hold(table)
        self.tables.append(table)
        self.contents.append(contents[: len(table)])
        self.num_entered.append(len(table))

    @precondition(lambda self: self.tables and self.blocks.num_available)
    @rule(data=st.data(), content=st.integers(0, 1))
    def grow(self, data: st.DataObject, content: int) -> None:
        i = data.draw(st.integers(0, len(self.tables) - 1))
        self.tables[i].append(self.blocks.allocate())
        self.contents[i].append(content)

    @precondition(lambda self: self.tables)
    @rule(data=st.data())
    def enter(self, data: st.DataObject) -> None:
        i = data.draw(st.integers(0, len(self.tables) - 1))
        keys = chain(self.contents[i])
        for j in range(self.num_entered[i], len(keys)):
            parent = keys[j - 1] if j else None
            self.tables[i][j] = self.blocks.enter(self.tables[i][j], keys[j], parent=parent)
        self.num_entered[i] = len(keys)
        assert self.blocks.find(keys) == self.tables[i]

    @precondition(lambda self: self.tables and self.blocks.num_available)
    @rule(data=st.data())
    def fork(self, data: st.DataObject) -> None:
        """Share what is entered, and copy a block behind it before it is written to."""
        i = data.draw(st.integers(0, len(self.tables) - 1))
        num_shared = self.num_entered[i]
        table = self.tables[i][: num_shared + 1]
        self.blocks.hold(table)
        assert all(map(self.blocks.is_shared, table))
        if len(table) > num_shared:
            self.blocks.release(table[num_shared:])
            table[num_shared] = self.blocks.allocate()
        self.tables.append(table)
        self.contents.append(self.contents[i][: len(table)])
        self.num_entered.append(num_shared)

    @precondition(lambda self: self.tables)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        i = data.draw(st.integers(0, len(self.tables) - 1))
        self.blocks.release(self.tables.pop(i))
        del self.contents[i], self.num_entered[i]

    @invariant()
    def nothing_is_lost(self) -> None:
        self.blocks.check_integrity(self.tables)


TestBlockLaws = BlockLaws.TestCase
TestBlockLaws.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_released_chain_is_found_again() -> None:
    blocks = BlockAllocator(4)
    table = compute(blocks, [1, 2, 3])
    blocks.release(table)
    assert blocks.find(chain([1, 2, 3])) == table
    assert blocks.find(chain([1, 2, 4])) == table[:2]


def test_least_recently_released_chain_goes_first_and_from_its_end() -> None:
    blocks = BlockAllocator(4)
    old, new = compute(blocks, [1, 2]), compute(blocks, [3, 4])
    blocks.release(old)
    blocks.release(new)
    assert blocks.allocate() == old[1]
    assert blocks.find(chain([1, 2])) == old[:1]
    assert blocks.find(chain([3, 4])) == new


def test_free_blocks_go_before_computed_ones() -> None:
    blocks = BlockAllocator(3)
    kept = compute(blocks, [1])
    blocks.release(kept)
    given = {blocks.allocate(), blocks.allocate()}
    assert kept[0] not in given
    assert blocks.find(chain([1])) == kept


def test_same_content_computed_twice_is_stored_once() -> None:
    blocks = BlockAllocator(2)
    first, second = blocks.allocate(), blocks.allocate()
    key = chain([7])[0]
    assert blocks.enter(first, key, parent=None) == first
    assert blocks.enter(second, key, parent=None) == first
    assert blocks.num_available == 1
    blocks.check_integrity([[first], [first]])


@pytest.mark.parametrize(
    "other",
    [
        root_key("sha256:other", "sha256:a", precision="float32", salt="acme"),
        root_key("sha256:base", "sha256:b", precision="float32", salt="acme"),
        root_key("sha256:base", None, precision="float32", salt="acme"),
        root_key("sha256:base", "sha256:a", precision="float32+int8", salt="acme"),
        root_key("sha256:base", "sha256:a", precision="float32", salt="other"),
        root_key("sha256:bases", "ha256:a", precision="float32", salt="acme"),
    ],
    ids=["base", "adapter", "no adapter", "precision", "salt", "moved border"],
)
def test_chain_is_never_found_under_another_root(other: bytes) -> None:
    own = root_key("sha256:base", "sha256:a", precision="float32", salt="acme")
    blocks = BlockAllocator(4)
    compute(blocks, [1, 2], own)
    assert blocks.find(chain([1, 2], own))
    assert blocks.find(chain([1, 2], other)) == []


def test_key_names_every_token_before_it() -> None:
    assert chain([1, 2])[1] != chain([3, 2])[1]
    assert block_key(ROOT, [1, 2]) != block_key(ROOT, [2, 1])
