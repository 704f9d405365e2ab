"""The cache has the shape of the layers that were recorded."""

import torch

from weft.server.model.kv_cache import AttentionLayer, KVCache, block_bytes

LAYERS = [
    AttentionLayer(
        index=index,
        num_heads=4,
        num_kv_heads=num_kv_heads,
        head_dim=8,
        v_head_dim=v_head_dim,
        scaling=1.0,
        window=None,
        softcap=None,
        sinks=False,
    )
    for index, (num_kv_heads, v_head_dim) in enumerate([(2, 8), (1, 4)])
]


def test_layers_may_differ_in_heads_and_sizes() -> None:
    cache = KVCache(LAYERS, num_blocks=3, block_tokens=4, dtype=torch.bfloat16, device="cpu")
    assert [tuple(k.shape) for k in cache.k] == [(3, 4, 2, 8), (3, 4, 1, 8)]
    assert [tuple(v.shape) for v in cache.v] == [(3, 4, 2, 8), (3, 4, 1, 4)]


def test_block_bytes_are_what_a_block_takes() -> None:
    cache = KVCache(LAYERS, num_blocks=3, block_tokens=4, dtype=torch.bfloat16, device="cpu")
    total = sum(tensor.nbytes for tensor in (*cache.k, *cache.v))
    assert block_bytes(LAYERS, block_tokens=4, dtype=torch.bfloat16) * 3 == total
