"""Which modules get an adapter, and what is written of it."""

from pathlib import Path

import pytest
import torch
from torch import nn

from weft.adapters.errors import OptionsInvalid
from weft.adapters.lora import adapted, choose_modules, list_linears, make_config, read_tensors
from weft.adapters.options import LoraOptions

from .chats import Tiny, load_tiny

ATTENTION = {"q_proj", "k_proj", "v_proj", "o_proj"}
MLP = {"gate_proj", "up_proj", "down_proj"}


@pytest.fixture(scope="module")
def tiny(tiny_llama: Path) -> Tiny:
    return load_tiny(tiny_llama)


def ends(names: frozenset[str]) -> set[str]:
    return {name.rpartition(".")[2] for name in names}


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("attention", ATTENTION),
        ("mlp", MLP),
        ("all-linear", ATTENTION | MLP),
        ("q_proj", {"q_proj"}),
        ("mlp.up_proj", {"up_proj"}),
    ],
)
def test_target_means_its_modules_in_every_layer(
    tiny: Tiny, target: str, expected: set[str]
) -> None:
    chosen = choose_modules(LoraOptions(targets=(target,)), list_linears(tiny.model))
    assert ends(chosen) == expected
    assert len(chosen) == 2 * len(expected)


def test_the_output_embedding_is_no_target(tiny: Tiny) -> None:
    assert "lm_head" not in list_linears(tiny.model)


def test_targets_are_out_of_the_modules_that_take_an_adapter(tiny: Tiny) -> None:
    sites = [name for name in list_linears(tiny.model) if name.endswith("q_proj")]
    assert choose_modules(LoraOptions(), sites) == frozenset(sites)
    with pytest.raises(OptionsInvalid, match="'up_proj'"):
        choose_modules(LoraOptions(targets=("up_proj",)), sites)


def test_names_and_patterns_that_match_nothing_are_all_named(tiny: Tiny) -> None:
    lora = LoraOptions(
        targets=("q_proj", "proj", "w1"),
        rank_pattern={"q_proj": 2, "up_proj": 3},
        alpha_pattern={"x": 2.0},
    )
    with pytest.raises(OptionsInvalid) as caught:
        choose_modules(lora, list_linears(tiny.model))
    assert [(v.code, v.path, v.found) for v in caught.value.violations] == [
        ("TARGET_UNMATCHED", "lora.targets", "'proj'"),
        ("TARGET_UNMATCHED", "lora.targets", "'w1'"),
        ("PATTERN_UNMATCHED", "lora.rank_pattern", "'up_proj'"),
        ("PATTERN_UNMATCHED", "lora.alpha_pattern", "'x'"),
    ]


@pytest.mark.parametrize("key", ["(", "(a+)+$x"])
def test_pattern_that_is_no_expression_or_backtracks_is_refused(tiny: Tiny, key: str) -> None:
    lora = LoraOptions(rank_pattern={key: 2})
    with pytest.raises(OptionsInvalid, match="PATTERN_UNMATCHED"):
        choose_modules(lora, list_linears(tiny.model))


def test_config_names_ends_unless_they_reach_too_far(tiny: Tiny) -> None:
    linears = list_linears(tiny.model)
    whole = choose_modules(LoraOptions(targets=("q_proj",)), linears)
    assert make_config(LoraOptions(), whole, linears).target_modules == {"q_proj"}  # type: ignore[comparison-overlap]
    one = frozenset({"model.layers.1.self_attn.q_proj"})
    assert make_config(LoraOptions(), one, linears).target_modules == set(one)  # type: ignore[comparison-overlap]


def test_peft_adapts_exactly_the_chosen_modules_with_their_ranks(tiny: Tiny) -> None:
    lora = LoraOptions(
        rank=4,
        rslora=True,
        targets=("attention",),
        rank_pattern={r"layers\.1\.self_attn.q_proj": 2},
    )
    linears = list_linears(tiny.model)
    config = make_config(lora, choose_modules(lora, linears), linears)

    with adapted(tiny.model, config, seed=1) as model:
        tensors = read_tensors(model)
        assert all(tensor.dtype is torch.float32 for tensor in tensors.values())
        ranks = {
            name.removeprefix("base_model.model.model.layers."): len(tensor)
            for name, tensor in tensors.items()
            if name.endswith("lora_A.weight")
        }
        adapted_q = model.get_submodule("base_model.model.model.layers.1.self_attn.q_proj")
        assert adapted_q.scaling["default"] == pytest.approx(8 / 2**0.5)  # type: ignore[index]

    assert ranks == {
        f"{layer}.self_attn.{name}.lora_A.weight": 2 if (layer, name) == (1, "q_proj") else 4
        for layer in range(2)
        for name in ATTENTION
    }


def test_start_depends_on_the_seed_and_leaves_the_process_alone(tiny: Tiny) -> None:
    linears = list_linears(tiny.model)
    config = make_config(LoraOptions(), frozenset(linears), linears)
    state = torch.get_rng_state()

    def start(seed: int) -> list[torch.Tensor]:
        with adapted(tiny.model, config, seed=seed) as model:
            return [tensor.detach().clone() for tensor in read_tensors(model).values()]

    first, again, other = start(1), start(1), start(2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert torch.equal(torch.get_rng_state(), state)


def test_base_is_given_back_when_the_block_fails(tiny: Tiny) -> None:
    linears = list_linears(tiny.model)
    config = make_config(LoraOptions(), frozenset(linears), linears)
    with pytest.raises(KeyError), adapted(tiny.model, config, seed=1):
        raise KeyError
    assert list_linears(tiny.model) == linears
    assert all(type(tiny.model.get_submodule(name)) is nn.Linear for name in linears)
