"""The beams of one sequence: rows in lockstep, with block tables that share what they can."""

from collections.abc import Sequence as Many

from .beams import BeamSearch, Candidate
from .kv_cache import BlockAllocator
from .sequence import Sequence


class BeamGroup:
    """Live hypotheses, of equal length and with as many tokens computed.

    What they have in common is computed by their leader, the sequence that the queues know. Then
    they fork: each has a table of its own, and the leader none. A full block is shared by reference
    for good, the last one until it is written to.

    Attributes:
        beams: The best first; none before the prompt is computed.
        num_shared: Leading tokens that the leader computes for all.
    """

    def __init__(self, leader: Sequence) -> None:
        self.search = BeamSearch(leader.request)
        self.beams: list[Sequence] = []
        self.is_forked = False
        self.num_shared = len(leader.tokens)
        self._leader = leader

    @property
    def is_due(self) -> bool:
        """Whether the beams are to fork: the leader has computed its part."""
        waits = bool(self.beams) and not self.is_forked
        return waits and self._leader.num_computed == self.num_shared

    @property
    def num_told(self) -> int:
        """Tokens of the hypotheses that are told."""
        return sum(len(hypothesis.tokens) for hypothesis in self.search.best)

    def branch(self, living: Many[Candidate], blocks: BlockAllocator) -> None:
        """Let the beams be these continuations of them, the best first."""
        leader = self._leader
        if self.beams:
            self._replace([candidate.beam for candidate in living], blocks)
        else:
            self.beams = [leader.beam() for _ in living]
            self.fork(blocks)
        for beam, candidate in zip(self.beams, living, strict=True):
            beam.tokens.append(candidate.token)
        leader.tokens = self.beams[0].tokens

    def fork(self, blocks: BlockAllocator) -> None:
        """Give every beam a table of its own, of the leader's blocks."""
        for beam in self.beams:
            beam.follow(self._leader)
            blocks.hold(beam.blocks)
        blocks.release(self._leader.blocks)
        self._leader.blocks = []
        self.is_forked = True

    def _replace(self, parents: list[int], blocks: BlockAllocator) -> None:
        """Let the beam at place i go on as one that was at place `parents[i]`.

        A beam goes on as itself if it can, with its own table: only what differs is sent anew.
        """
        spare = [beam for at, beam in enumerate(self.beams) if at not in parents]
        for beam in spare:
            blocks.release(beam.blocks)
        before, self.beams = self.beams, []
        for at, parent in enumerate(parents):
            beam = before[parent]
            if parent in parents[:at]:
                beam = spare.pop()
                beam.tokens = list(before[parent].tokens)
                beam.follow(before[parent])
                blocks.hold(beam.blocks)
            self.beams.append(beam)

    def num_copies(self, block_tokens: int) -> int:
        """Blocks that the beams need so that each can write behind what is computed."""
        if not self.is_forked or self._leader.num_computed % block_tokens == 0:
            return 0
        return len(self.beams) - len({beam.blocks[-1] for beam in self.beams})

    def part(self, blocks: BlockAllocator) -> None:
        """Let no two beams have one last block: all but one get others, to be filled by a copy."""
        for beam in self.beams:
            last = beam.blocks[-1]
            if blocks.is_shared(last):
                beam.source = last
                beam.blocks = [*beam.blocks[:-1], blocks.allocate()]
                blocks.release([last])

    def join(self) -> None:
        """Start over, now that all blocks are released: the leader computes what all share."""
        self.is_forked = False
        if self.beams:
            columns = zip(*(beam.tokens for beam in self.beams), strict=True)
            self.num_shared = next(at for at, tokens in enumerate(columns) if len({*tokens}) > 1)

    def check_integrity(self) -> None:
        """Assert that the beams are in lockstep, and that either they or the leader have blocks."""
        leader = self._leader
        if not self.is_forked:
            assert not any(beam.blocks for beam in self.beams)
            return
        assert not leader.blocks
        assert len({tuple(beam.tokens) for beam in self.beams}) == leader.num_rows
        lengths = {(len(beam.tokens), len(beam.blocks)) for beam in self.beams}
        assert lengths == {(len(leader.tokens), len(self.beams[0].blocks))}
        for beam in self.beams:
            assert (beam.num_computed, beam.slot) == (leader.num_computed, leader.slot)
            assert beam.source is None
