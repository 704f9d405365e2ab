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


def test_copied_blocks_are_equal_in_every_layer_and_others_stay() -> None:
    cache = KVCache(LAYERS, num_blocks=5, block_tokens=4, dtype=torch.float32, device="cpu")
    before: list[torch.Tensor] = []
    for tensor in (*cache.k, *cache.v):
        tensor.normal_(generator=torch.Generator().manual_seed(len(before)))
        before.append(tensor.clone())
    cache.copy_blocks([(1, 4), (1, 0), (3, 2)])
    for tensor, old in zip((*cache.k, *cache.v), before, strict=True):
        assert torch.equal(tensor, old[[1, 1, 3, 3, 1]])
