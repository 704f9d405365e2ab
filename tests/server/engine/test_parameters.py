"""Parameters as they arrive."""

import torch

from weft.server.channel import Sampling
from weft.server.engine.parameters import send_parameters
from weft.server.engine.row import Row

CPU = torch.device("cpu")


def test_rows_that_draw_are_sent_with_every_bit_of_what_they_ask() -> None:
    seeds = [0, 2**63, 2**64 - 1]
    rows = [
        Row(Sampling(temperature=0.1 + i, top_k=k, top_p=0.7, min_p=0.3, seed=seed), 7 * i, None)
        for i, (seed, k) in enumerate(zip(seeds, (None, 4, 99), strict=True))
    ]
    rows.insert(1, Row(Sampling(), 5, None))
    sent = send_parameters(rows, vocab_size=50, device=CPU)
    assert sent is not None
    assert sent.row.tolist() == [0, 2, 3]
    assert [seed % 2**64 for seed in sent.seed.tolist()] == seeds
    assert sent.position.tolist() == [0, 7, 14]
    assert (sent.k_B1[:, 0].tolist(), sent.largest_k) == ([50, 4, 50], 4)
    assert torch.equal(sent.temperature_B1[:, 0], torch.tensor([0.1, 1.1, 2.1]))
    assert torch.equal(sent.p_B1, torch.full((3, 1), 0.7))
    assert torch.equal(sent.min_p_B1, torch.full((3, 1), 0.3))
    assert sent.has_p
    assert sent.has_min_p


def test_greedy_rows_send_nothing_and_plain_draws_cut_nothing() -> None:
    assert send_parameters([Row(Sampling(), 0, None)], vocab_size=50, device=CPU) is None
    plain = send_parameters([Row(Sampling(temperature=1.0), 0, None)], vocab_size=50, device=CPU)
    assert plain is not None
    assert (plain.largest_k, plain.has_p, plain.has_min_p) == (None, False, False)
