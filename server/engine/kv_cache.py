"""Bookkeeping of the KV cache: who holds which block, and which computed blocks can be shared.

A block key is sha256 of the key before it and of the block's tokens. The first parent, the root,
names all else that the keys and values depend on, so a chain is never found under another digest.
"""

import hashlib
from array import array
from collections import Counter, OrderedDict
from collections.abc import Iterable


def root_key(base_digest: str, adapter_digest: str | None, *, precision: str, salt: str) -> bytes:
    """Name everything but the tokens that a block's content depends on, and who may share it."""
    hasher = hashlib.sha256()
    for part in (base_digest, adapter_digest or "", precision, salt):
        encoded = part.encode()
        hasher.update(len(encoded).to_bytes(4, "little") + encoded)
    return hasher.digest()


def block_key(parent: bytes, tokens: list[int]) -> bytes:
    return hashlib.sha256(parent + array("I", tokens).tobytes()).digest()


class BlockAllocator:
    """Reference counts, a free list, and computed blocks that stay until their place is needed.

    A holder of a keyed block holds the keyed blocks of its whole chain, and gives them back from
    the end: so among idle blocks in order of release, children come before their parents.
    """

    def __init__(self, num_blocks: int) -> None:
        self.num_blocks = num_blocks
        self._free = list(range(num_blocks - 1, -1, -1))
        self._num_holders = [0] * num_blocks
        self._block_of: dict[bytes, int] = {}
        self._key_of: dict[int, bytes] = {}
        self._parent_of: dict[bytes, bytes | None] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()

    @property
    def num_available(self) -> int:
        """Blocks that `allocate` can give: free, or computed and held by nobody."""
        return len(self._free) + len(self._idle)

    @property
    def num_idle(self) -> int:
        """Computed blocks that nobody holds."""
        return len(self._idle)

    def allocate(self) -> int:
        """Give a block of unknown content to one holder; some must be available."""
        if not self._free:
            self._evict()
        block = self._free.pop()
        self._num_holders[block] = 1
        return block

    def find(self, keys: Iterable[bytes]) -> list[int]:
        """Answer the blocks of the longest chain that is computed; they are not yet held."""
        found: list[int] = []
        for key in keys:
            block = self._block_of.get(key)
            if block is None:
                break
            found.append(block)
        return found

    def hold(self, blocks: Iterable[int]) -> None:
        """Add a holder to each of a chain's blocks."""
        for block in blocks:
            if self._num_holders[block] == 0:
                del self._idle[block]
            self._num_holders[block] += 1

    def is_shared(self, block: int) -> bool:
        """Whether more than one holds it."""
        return self._num_holders[block] > 1

    def release(self, blocks: list[int]) -> None:
        """Take one holder from each block of a table, its end first."""
        for block in reversed(blocks):
            self._num_holders[block] -= 1
            if self._num_holders[block] == 0:
                if block in self._key_of:
                    self._idle[block] = None
                else:
                    self._free.append(block)

    def enter(self, block: int, key: bytes, *, parent: bytes | None) -> int:
        """Publish a computed block; answer the block to go on with.

        That is another one where the same content was entered before: the holder gains it and
        loses `block`. `parent` is the key of the block before, None at the start of a chain.
        """
        known = self._block_of.get(key)
        if known is None:
            self._block_of[key] = block
            self._key_of[block] = key
            self._parent_of[key] = parent
            return block
        if known != block:
            self.hold([known])
            self.release([block])
        return known

    def _evict(self) -> None:
        block, _ = self._idle.popitem(last=False)
        key = self._key_of.pop(block)
        del self._block_of[key]
        del self._parent_of[key]
        self._free.append(block)

    def check_integrity(self, tables: Iterable[list[int]]) -> None:
        """Assert what must hold between steps; `tables` are those of all holders."""
        held = Counter(block for table in tables for block in table)
        counts = {block: n for block, n in enumerate(self._num_holders) if n}
        assert counts == held, "holders differ from the block tables"
        places = [*self._free, *self._idle, *held]
        assert sorted(places) == list(range(self.num_blocks)), "free + idle + held is not all"
        assert self._key_of == {block: key for key, block in self._block_of.items()}
        assert self._parent_of.keys() == self._block_of.keys()
        assert not set(self._free) & self._key_of.keys(), "a free block has a key"
        age = {block: n for n, block in enumerate(self._idle)}
        for key, parent in self._parent_of.items():
            if parent is not None:
                before, after = self._block_of[parent], self._block_of[key]
                assert before not in age or age[before] > age.get(after, self.num_blocks), (
                    "a parent would be evicted before its child"
                )
