"""The best continuations, of several searches in one step."""

import torch

from weft.server.channel import Beams, Sampling, Submit
from weft.server.engine.beam_group import BeamGroup
from weft.server.engine.beams import Candidate
from weft.server.engine.continuations import best_continuations
from weft.server.engine.kv_cache import BlockAllocator
from weft.server.engine.sequence import Sequence


def searching(*, sampling: Sampling | None = None, min_tokens: int = 0) -> Sequence:
    """A sequence of two beams that have drawn 5 and 6."""
    request = Submit(
        stream=1,
        digest=None,
        tokens=[1, 2],
        sampling=sampling or Sampling(),
        max_tokens=9,
        stop_tokens=frozenset([0]),
        salt="",
        min_tokens=min_tokens,
        beams=Beams(2),
    )
    sequence = Sequence(b"", request, arrival=0, root=b"", submitted_at=0.0)
    group = sequence.group = BeamGroup(sequence)
    sequence.num_computed = 2
    found = [Candidate(0, 5, -1.0), Candidate(0, 6, -2.0), Candidate(0, 7, -3.0)]
    group.branch(group.search.advance(found, [sequence.tokens]), BlockAllocator(1))
    return sequence


def test_scores_add_up_and_every_search_gets_its_own() -> None:
    logits = torch.randn(4, 12, generator=torch.Generator().manual_seed(3))
    found = best_continuations(logits.clone(), [searching(), searching()])
    for candidates, rows in zip(found, torch.split(logits.log_softmax(-1), 2), strict=True):
        sums = rows + torch.tensor([[-1.0], [-2.0]])
        assert len(candidates) == 4
        for candidate, score in zip(candidates, sums.flatten().sort().values.flip(0), strict=False):
            assert candidate.score == score == sums[candidate.beam, candidate.token]


def test_biases_and_penalties_change_log_probabilities_and_ends_are_barred() -> None:
    logits = torch.zeros(2, 12)
    logits[:, 0] = 9.0
    asked = Sampling(logit_bias={3: 2.5}, repetition_penalty=2.0, presence_penalty=0.5)
    [found] = best_continuations(logits.clone(), [searching(sampling=asked, min_tokens=2)])
    base = float(logits.log_softmax(-1)[0, 1])
    biased = [c for c in found if c.token == 3]
    assert [c.beam for c in biased] == [0, 1]
    assert abs(biased[0].score - (base + 2.5 - 1.0)) < 1e-5
    assert not {c.token for c in found} & {0, 1, 2}, "barred, or of the prompt"
    own = {0: 5, 1: 6}
    assert all(c.token != own[c.beam] for c in found)


def test_what_is_not_finite_shows() -> None:
    logits = torch.zeros(2, 12)
    logits[1, 4] = torch.nan
    [found] = best_continuations(logits, [searching()])
    assert not all(torch.isfinite(torch.tensor([c.score for c in found])))
