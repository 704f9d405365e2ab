"""What a sequence asks of its next draw."""

from weft.server.channel import Sampling, Submit
from weft.server.engine.row import row_of
from weft.server.engine.sequence import Sequence


def sequence(sampling: Sampling, *, min_tokens: int = 0) -> Sequence:
    request = Submit(
        stream=1,
        digest=None,
        tokens=[3, 4, 4],
        sampling=sampling,
        max_tokens=9,
        stop_tokens=frozenset([8]),
        salt="",
        min_tokens=min_tokens,
    )
    return Sequence(b"", request, arrival=0, root=b"", submitted_at=0.0)


def test_counts_follow_the_sequence_where_a_penalty_needs_them() -> None:
    penalised = sequence(Sampling(frequency_penalty=1.0))
    assert row_of(penalised, 0).counts == {3: 0, 4: 0}
    penalised.append(4, 0.0)
    penalised.append(7, 0.0)
    assert row_of(penalised, 0).counts == {3: 0, 4: 1, 7: 1}
    penalised.append(7, 0.0)
    assert row_of(penalised, 0).counts == {3: 0, 4: 1, 7: 2}
    assert row_of(sequence(Sampling(temperature=1.0)), 0).counts is None


def test_ends_are_barred_until_there_are_enough_tokens() -> None:
    early = sequence(Sampling(), min_tokens=2)
    barred = []
    for token in (5, 6, 7):
        barred.append(row_of(early, early.num_generated).barred)
        early.append(token, 0.0)
    assert barred == [{8}, {8}, frozenset()]
