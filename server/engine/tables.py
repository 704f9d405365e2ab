"""Block tables: the blocks that sequences hold, found, grown, published and given back."""

from collections.abc import Iterable
from collections.abc import Sequence as Many

from .beam_group import BeamGroup
from .beams import Candidate
from .kv_cache import BlockAllocator, block_key
from .sequence import Sequence


class BlockTables:
    """Keeps `sequence.blocks` and its keys in step with the allocator's books.

    Attributes:
        block_tokens: Tokens in a block.
    """

    def __init__(self, blocks: BlockAllocator, *, block_tokens: int) -> None:
        self.block_tokens = block_tokens
        self._blocks = blocks

    @property
    def num_blocks(self) -> int:
        """Blocks of all."""
        return self._blocks.num_blocks

    def num_found(self, sequence: Sequence) -> int:
        """Leading tokens of a sequence that are computed already."""
        return len(self._find(sequence)) * self.block_tokens

    def open(self, sequence: Sequence, *, budget: int, spare: int) -> int:
        """Hold what is computed, and blocks for the rest or as much of it as the budget allows.

        Args:
            spare: Blocks that must be left to others.

        Returns:
            Tokens of the next chunk; 0 if there are not enough blocks.
        """
        found = self._find(sequence)
        self._blocks.hold(found)
        sequence.blocks = found
        sequence.num_computed = len(found) * self.block_tokens
        num = sequence.chunk(budget)
        if self._lacking(sequence, num) + spare > self._blocks.num_available:
            self.close(sequence)
            return 0
        self._extend(sequence, num)
        return num

    def grow(self, sequence: Sequence, num: int) -> bool:
        """Hold the blocks for `num` more tokens of each row; False if there are not enough."""
        if self._lacking(sequence, num) > self._blocks.num_available:
            return False
        self._extend(sequence, num)
        return True

    def advance(self, sequence: Sequence, num_computed: int) -> bool:
        """Publish the blocks that have become full; answer whether there were any."""
        first = sequence.num_computed // self.block_tokens
        last = num_computed // self.block_tokens
        sequence.num_computed = num_computed
        keys = self._keys(sequence, last) if last > first else []
        for i in range(first, last):
            parent = keys[i - 1] if i else None
            sequence.blocks[i] = self._blocks.enter(sequence.blocks[i], keys[i], parent=parent)
        return last > first

    def close(self, sequence: Sequence) -> None:
        """Give all blocks of a sequence back: what it computed, it computes again."""
        for row in sequence.rows:
            self._blocks.release(row.blocks)
            row.blocks = []
            row.num_charged = 0
        sequence.num_computed = sequence.num_charged = 0
        if sequence.group is not None:
            sequence.group.join()

    def fork(self, group: BeamGroup) -> None:
        """Give every beam a table of its own, of what their leader has computed for all."""
        group.fork(self._blocks)

    def branch(self, group: BeamGroup, living: Many[Candidate]) -> None:
        """Let the beams be these continuations of them."""
        group.branch(living, self._blocks)

    def has_room(self, sequence: Sequence) -> bool:
        """Whether the blocks that a sequence holds take another token."""
        return sequence.num_computed < len(sequence.blocks) * self.block_tokens

    def check_integrity(self, holders: Iterable[Sequence]) -> None:
        """Assert that the allocator knows these holders and no others."""
        self._blocks.check_integrity([row.blocks for s in holders for row in s.rows])

    def _find(self, sequence: Sequence) -> list[int]:
        """Blocks that are computed; the last token never is: its logits are wanted. Nor is any of a
        prompt whose log-probabilities are still to be told."""
        if sequence.tells_prompt:
            return []
        num_full = (sequence.num_ready - 1) // self.block_tokens
        return self._blocks.find(self._keys(sequence, num_full))

    def _lacking(self, sequence: Sequence, num: int) -> int:
        """Blocks that are needed for `num` more tokens of each row."""
        total = self._total(sequence, num)
        num_copies = 0
        if num and sequence.group is not None:
            num_copies = sequence.group.num_copies(self.block_tokens)
        return num_copies + sum(total - len(row.blocks) for row in sequence.rows)

    def _extend(self, sequence: Sequence, num: int) -> None:
        if num and sequence.group is not None and sequence.group.num_copies(self.block_tokens):
            sequence.group.part(self._blocks)
        total = self._total(sequence, num)
        for row in sequence.rows:
            row.blocks += [self._blocks.allocate() for _ in range(total - len(row.blocks))]

    def _total(self, sequence: Sequence, num: int) -> int:
        """Blocks of each row once it has `num` more tokens."""
        return -(-(sequence.num_computed + num) // self.block_tokens)

    def _keys(self, sequence: Sequence, num: int) -> list[bytes]:
        """Keys of the first `num` blocks, which are full."""
        keys, size = sequence.keys, self.block_tokens
        while len(keys) < num:
            tokens = sequence.tokens[len(keys) * size : (len(keys) + 1) * size]
            keys.append(block_key(keys[-1] if keys else sequence.root, tokens))
        return keys[:num]
