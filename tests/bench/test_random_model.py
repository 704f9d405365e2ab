"""Random models: equal seeds, equal weights."""

import torch
from transformers import PreTrainedModel

from weft.bench.random_model import build_model, describe
from weft.bench.shapes import SHAPES

TINY = SHAPES["tiny"]


def build(seed: int) -> PreTrainedModel:
    return build_model(
        TINY, seed=seed, device=torch.device("cpu"), dtype=torch.bfloat16, attention="eager"
    )


def test_equal_seeds_give_equal_weights() -> None:
    one, same, other = build(1), build(1), build(2)
    for name, weight in one.named_parameters():
        assert torch.equal(weight, same.get_parameter(name))
        if weight.dim() > 1:
            assert not torch.equal(weight, other.get_parameter(name))


def test_weights_are_normal_with_a_standard_deviation_of_one_fiftieth() -> None:
    model = build(0)
    assert model.dtype == torch.bfloat16
    weight = model.get_parameter("model.layers.0.mlp.up_proj.weight").float()
    assert abs(float(weight.std()) - 0.02) < 1e-3


def test_facts_tell_seeds_and_dtypes_apart() -> None:
    model = build(0)
    facts = describe(model, TINY, seed=0)
    assert facts.dtype == "bfloat16"
    assert facts.vocab_size == TINY.vocab_size
    assert facts.num_slices == 7 * TINY.num_layers
    assert facts.digest == describe(model, TINY, seed=0).digest
    assert facts.digest != describe(model, TINY, seed=1).digest
    assert facts.digest != describe(model.float(), TINY, seed=0).digest
