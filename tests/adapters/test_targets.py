import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import _ExcludedModule, check_target_module_exists
from peft.utils.other import get_pattern_key

from weft.adapters.config import AdapterConfig, check_config
from weft.adapters.sites import BaseFacts
from weft.adapters.targets import Target, plan_targets

from .tiny_facts import meta_model, tiny_facts

LAYER = "model.layers.{}.self_attn.{}_proj"
GRID: dict[str, dict[str, object]] = {
    "suffixes": {"target_modules": ["q_proj", "down_proj"]},
    "one path": {"target_modules": ["model.layers.1.self_attn.o_proj"]},
    "dotted suffix": {"target_modules": ["self_attn.v_proj", "1.mlp.up_proj"]},
    "pattern": {"target_modules": r".*\.1\..*\.(q|gate)_proj"},
    "all-linear": {"target_modules": "all-linear"},
    "All-Linear, excluding": {"target_modules": "All-Linear", "exclude_modules": ["o_proj"]},
    "excluding a pattern": {"target_modules": ["q_proj"], "exclude_modules": r".*\.0\..*"},
    "one layer": {"target_modules": ["q_proj", "v_proj"], "layers_to_transform": 1},
    "layers": {"target_modules": ["q_proj"], "layers_to_transform": [0, 1]},
    "no layers": {"target_modules": ["q_proj"], "layers_to_transform": []},
    "layers of a list": {
        "target_modules": ["k_proj"],
        "layers_to_transform": [1],
        "layers_pattern": "layers",
    },
    "layers of lists": {
        "target_modules": ["k_proj"],
        "layers_to_transform": [1],
        "layers_pattern": ["h", "layers"],
    },
    "a path that is outside of the layers": {
        "target_modules": ["q_proj", LAYER.format(0, "v")],
        "layers_to_transform": [1],
    },
    "alpha of its own": {"target_modules": ["q_proj"], "r": 6, "lora_alpha": 1.5},
    "rank pattern": {"target_modules": ["q_proj", "v_proj"], "rank_pattern": {"v_proj": 2}},
    "first pattern wins": {
        "target_modules": ["q_proj", "v_proj"],
        "rank_pattern": {"0.self_attn.q_proj": 2, "q_proj": 3, ".*": 5},
    },
    "anchored patterns": {
        "target_modules": ["q_proj", "v_proj"],
        "rank_pattern": {"^model.layers.1.self_attn.q_proj": 16},
        "alpha_pattern": {r"layers\.\d+\.self_attn\.v_proj": 64},
    },
    "patterns of rank and alpha": {
        "target_modules": ["q_proj", "v_proj", "up_proj"],
        "r": 12,
        "lora_alpha": 5,
        "rank_pattern": {"v_proj|up_proj": 7},
        "alpha_pattern": {"q_proj": 3.25, "up_proj": 9},
    },
}


@pytest.fixture(scope="module")
def facts(tiny_llama: Path) -> BaseFacts:
    return tiny_facts(tiny_llama)


def read(**keys: object) -> AdapterConfig:
    checked = check_config(json.dumps({"peft_type": "LORA", **keys}).encode())
    assert checked.config is not None
    return checked.config


def pefts_targets(folder: Path, **keys: object) -> dict[str, Target]:
    model = inject_adapter_in_model(
        LoraConfig(**keys),  # type: ignore[arg-type]  # keys of a parameter row
        meta_model(folder),
        low_cpu_mem_usage=True,
    )
    return {
        name: Target(module.r["default"], module.scaling["default"])
        for name, module in model.named_modules()
        if isinstance(module, LoraLayer)
    }


@pytest.mark.parametrize("rslora", [False, True], ids=["plain", "rslora"])
@pytest.mark.parametrize("keys", GRID.values(), ids=GRID.keys())
def test_rank_and_scaling_of_every_module_equal_pefts(
    keys: dict[str, object], rslora: bool, tiny_llama: Path, facts: BaseFacts
) -> None:
    plan = plan_targets(read(use_rslora=rslora, **keys), facts)
    assert plan.targets == pefts_targets(tiny_llama, use_rslora=rslora, **keys)
    assert plan.targets
    assert {violation.code for violation in plan.violations} <= {"PATTERN_UNMATCHED"}


parts = st.sampled_from(["q_proj", "k_proj", "self_attn", "layers", "0", "1", "model", "proj"])
paths = st.lists(parts, min_size=1, max_size=3).map(".".join)


@given(
    target=st.lists(paths, min_size=1, max_size=3),
    exclude=st.none() | st.lists(paths, max_size=2),
    layers=st.none() | st.integers(0, 2) | st.lists(st.integers(0, 2), max_size=2),
    ranks=st.dictionaries(paths, st.integers(1, 9), max_size=3),
)
def test_any_lists_select_what_pefts_matcher_selects(
    facts: BaseFacts,
    target: list[str],
    exclude: list[str] | None,
    layers: int | list[int] | None,
    ranks: dict[str, int],
) -> None:
    plan = plan_targets(
        read(
            target_modules=target,
            exclude_modules=exclude,
            layers_to_transform=layers,
            rank_pattern=ranks,
        ),
        facts,
    )
    peft = LoraConfig(
        target_modules=target, exclude_modules=exclude, layers_to_transform=layers, r=8
    )
    assert plan.targets is not None
    assert {name: target.rank for name, target in plan.targets.items()} == {
        name: ranks.get(get_pattern_key(list(ranks), name), 8)
        for name in [*facts.members, *facts.other_modules]
        if is_match(check_target_module_exists(peft, name))
    }


def is_match(answer: object) -> bool:
    return bool(answer) and not isinstance(answer, _ExcludedModule)


def test_a_pattern_that_no_adapted_module_matches_is_refused(facts: BaseFacts) -> None:
    config = read(
        target_modules=["q_proj"], rank_pattern={"v_proj": 2, "q_proj": 4}, alpha_pattern={"x": 1}
    )
    violations = plan_targets(config, facts).violations
    assert [(v.code, v.path) for v in violations] == [
        ("PATTERN_UNMATCHED", "rank_pattern.v_proj"),
        ("PATTERN_UNMATCHED", "alpha_pattern.x"),
    ]


def test_a_pattern_that_an_earlier_one_hides_is_no_violation(facts: BaseFacts) -> None:
    config = read(target_modules=["q_proj"], rank_pattern={"self_attn.q_proj": 2, "q_proj": 4})
    assert plan_targets(config, facts).violations == ()


def test_a_selected_module_that_is_no_site_is_named_with_its_class(facts: BaseFacts) -> None:
    violations = plan_targets(read(target_modules=["q_proj", "lm_head", "norm"]), facts).violations
    assert [(v.code, v.path, v.found) for v in violations] == [
        ("TARGET_UNSUPPORTED", "model.norm", "LlamaRMSNorm"),
        ("TARGET_UNSUPPORTED", "lm_head", "Linear"),
    ]


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ({"target_modules": "("}, "target_modules"),
        ({"target_modules": ["q_proj"], "exclude_modules": "["}, "exclude_modules"),
        ({"target_modules": ["q_proj"], "rank_pattern": {"*": 2}}, "rank_pattern.*"),
        ({"target_modules": ["q_proj"], "alpha_pattern": {"(": 2}}, "alpha_pattern.("),
        (
            {"target_modules": ["q"], "layers_to_transform": 0, "layers_pattern": ["["]},
            "layers_pattern.[",
        ),
    ],
)
def test_a_pattern_that_does_not_compile_is_refused(
    keys: dict[str, object], path: str, facts: BaseFacts
) -> None:
    plan = plan_targets(read(**keys), facts)
    assert plan.targets is None
    assert [(v.code, v.path) for v in plan.violations] == [("CONFIG_VALUE", path)]


def test_patterns_that_take_too_long_are_refused(facts: BaseFacts) -> None:
    plan = plan_targets(read(target_modules=r"((\w+\.?)+)+!"), facts, timeout_s=0.3)
    assert plan.targets is None
    assert [(v.code, v.path) for v in plan.violations] == [("CONFIG_VALUE", "target_modules")]
