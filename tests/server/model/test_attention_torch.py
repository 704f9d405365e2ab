"""What attention in plain torch plans once per step; test_attention.py has what it computes."""

import torch

from weft.server.model.attention_torch import TorchAttention

from .test_attention import FULL, make_step, variant


def test_layers_that_ask_the_same_share_a_plan() -> None:
    batch, cache, written = make_step(FULL, [(1, 9), (1, 10)], torch.float32)
    attention = TorchAttention()
    attention.begin(batch)
    q_THD = torch.cat([rows[0] for rows in written])
    for layer in (FULL, variant(index=1), variant(window=3)):
        attention.attend(q_THD, cache.k[0].nan_to_num(), cache.v[0].nan_to_num(), layer, None)
    assert set(attention._groups) == {(None, 2), (3, 2)}
    attention.end()
    assert not attention._groups
