"""RoPE is put off to the kernel where its form is proven, and left alone everywhere else."""

from pathlib import Path

import pytest
import torch

from tests.tiny import save_tiny_model
from weft.server.model.loader import apply_swap
from weft.server.model.rotation import Rotation
from weft.server.model.row_ops import KERNELS, choose_row_ops

from .families import DENSE, MIXTURES
from .stepping import Played, interpreted, play, random_tokens, stock_logits
from .test_row_swaps import open_apart

FAMILIES = {
    # interleaved, in_fp32, repeated
    "llama": (False, False, False),
    "gemma3_text": (False, False, False),  # two frequencies
    "glm4": (True, False, False),  # a part of each head
    "cohere2": (True, False, True),  # full layers do not rotate
    "qwen3_moe": (False, False, False),
}
LEFT = {
    "gpt_oss": "its angles are not repeated",
    "hunyuan_v1_dense": "a norm stands behind it",
    "phi": "heads are put together after it",
}


def save_family(name: str, tmp_path: Path) -> Path:
    (config,) = (known.config for known in (*DENSE, *MIXTURES) if known.name == name)
    return save_tiny_model(name, tmp_path, seed=0, **config)


@interpreted
@pytest.mark.parametrize("family", FAMILIES)
def test_kernel_gives_the_logits_of_the_familys_own_function(family: str, tmp_path: Path) -> None:
    folder = save_family(family, tmp_path)
    _, kernels = open_apart(folder)
    tokens = random_tokens(kernels.facts, (16, 5))
    swap = kernels.row_swaps(tokens[0], KERNELS)[1]
    assert apply_swap(swap, kernels, tokens[0]).made == swap.count > 0
    rotation = kernels._attention.rotary
    assert isinstance(rotation, Rotation)
    assert rotation._form == FAMILIES[family]
    sequences = [Played(own) for own in tokens]
    for played, found in zip(sequences, play(kernels, sequences), strict=True):
        expected = stock_logits(folder, played.tokens)  # by the same function, of nobody's step
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    swap.undo()
    assert all(map(torch.equal, play(kernels, sequences), play(open_apart(folder)[1], sequences)))


@pytest.mark.parametrize("family", LEFT)
def test_what_is_not_proven_is_left_alone(family: str, tmp_path: Path) -> None:
    _, loaded = open_apart(save_family(family, tmp_path))
    swap = loaded.row_swaps(random_tokens(loaded.facts, (12,))[0], KERNELS)[1]
    assert (swap.count, swap.skipped) == (0, 2)


@pytest.mark.parametrize("family", ["opt", "deepseek_v3"], ids=["no-rope", "another-function"])
def test_family_without_such_a_function_has_nothing_to_swap(family: str, tmp_path: Path) -> None:
    _, loaded = open_apart(save_family(family, tmp_path))
    swap = loaded.row_swaps(random_tokens(loaded.facts, (12,))[0], KERNELS)[1]
    assert (swap.count, swap.skipped) == (0, 0)


def test_interleaved_pairs_are_left_alone_on_a_cpu(tmp_path: Path) -> None:
    _, loaded = open_apart(save_family("glm4", tmp_path))
    ops = choose_row_ops(torch.device("cpu"))
    swap = loaded.row_swaps(random_tokens(loaded.facts, (12,))[0], ops)[1]
    assert (swap.count, swap.skipped) == (0, 2)
