from dataclasses import replace
from pathlib import Path

import pytest

from weft.adapters.sites import BaseFacts
from weft.adapters.tensor_names import MAX_NEAREST, Half, Pair, match_names, parse_key

from .tiny_facts import tiny_facts

PREFIX = "base_model.model."
Q = "model.layers.0.self_attn.q_proj"
UP = "model.layers.1.mlp.up_proj"


@pytest.fixture(scope="module")
def facts(tiny_llama: Path) -> BaseFacts:
    return tiny_facts(tiny_llama)


def ab(module: str, *, prefix: str = PREFIX, adapter: str = "") -> list[str]:
    return [f"{prefix}{module}.lora_{letter}{adapter}.weight" for letter in "AB"]


def refusals(keys: list[str], facts: BaseFacts) -> list[tuple[str, str]]:
    return [(v.code, v.path) for v in match_names(keys, facts).violations]


@pytest.mark.parametrize(
    ("key", "half"),
    [
        (f"{PREFIX}{Q}.lora_A.weight", Half(Q, "A", (True, None))),
        (f"{PREFIX}{Q}.lora_B.default.weight", Half(Q, "B", (True, "default"))),
        (f"{Q}.lora_A.weight", Half(Q, "A", (False, None))),
        (f"_orig_mod.{PREFIX}{Q}.lora_A.weight", Half(Q, "A", (True, None))),
        (f"{PREFIX}_orig_mod.{Q}.lora_A.weight", Half(Q, "A", (True, None))),
        (f"module.{PREFIX}{Q}.lora_A.weight", Half(Q, "A", (True, None))),
        (
            f"{PREFIX}model.layers.0._checkpoint_wrapped_module.self_attn"
            "._fsdp_wrapped_module.q_proj.lora_A.weight",
            Half(Q, "A", (True, None)),
        ),
        (f"{PREFIX}{Q}.lora_C.weight", None),
        (f"{PREFIX}{Q}.weight", None),
        (f"{PREFIX}{Q}.lora_A.a.b.weight", None),
        ("lora_A.weight", None),
    ],
)
def test_a_key_is_taken_apart(key: str, half: Half | None) -> None:
    assert parse_key(key) == half


@pytest.mark.parametrize("prefix", [PREFIX, "", f"_orig_mod.{PREFIX}"])
@pytest.mark.parametrize("adapter", ["", ".default"])
def test_every_form_answers_the_same_modules(prefix: str, adapter: str, facts: BaseFacts) -> None:
    keys = ab(Q, prefix=prefix, adapter=adapter) + ab(UP, prefix=prefix, adapter=adapter)
    pairs, violations = match_names(keys, facts)
    assert violations == ()
    assert pairs == {Q: Pair(*keys[:2]), UP: Pair(*keys[2:])}


@pytest.mark.parametrize(
    "other",
    [ab(UP, prefix=""), ab(UP, adapter=".default")],
    ids=["no prefix", "an adapter's name"],
)
def test_two_forms_in_one_file_are_refused(other: list[str], facts: BaseFacts) -> None:
    ((code, path),) = refusals(ab(Q) + other, facts)
    assert code == "KEY_FORM"
    assert path in ab(Q) + other


def test_two_adapters_in_one_file_are_refused(facts: BaseFacts) -> None:
    keys = ab(Q, adapter=".one") + ab(UP, adapter=".two")
    assert [code for code, _ in refusals(keys, facts)] == ["KEY_FORM"]


def test_two_keys_for_one_half_are_refused(facts: BaseFacts) -> None:
    keys = [*ab(Q), *ab(Q, prefix=f"_orig_mod.{PREFIX}")]
    assert [code for code, _ in refusals(keys, facts)] == ["KEY_FORM", "KEY_FORM"]


@pytest.mark.parametrize("missing", [0, 1], ids=["A", "B"])
def test_half_a_pair_is_refused(missing: int, facts: BaseFacts) -> None:
    keys = ab(Q) + ab(UP)
    del keys[missing]
    assert refusals(keys, facts) == [("TENSOR_PAIR", Q)]


@pytest.mark.parametrize(
    ("module", "nearest"),
    [
        ("model.layers.9.self_attn.q_proj", "model.layers.0.self_attn.q_proj"),
        ("language_model.model.layers.1.mlp.up_proj", "model.layers.1.mlp.up_proj"),
        ("model.layers.1.self_attn.query_proj", "model.layers.1.self_attn.q_proj"),
        ("layers.1.mlp.down_proj", "model.layers.1.mlp.down_proj"),
    ],
)
def test_an_unknown_module_is_refused_with_the_nearest(
    module: str, nearest: str, facts: BaseFacts
) -> None:
    (violation,) = match_names(ab(module), facts).violations
    assert (violation.code, violation.path) == ("TENSOR_UNMATCHED", module)
    assert violation.expected == f"a module of the base; nearest is {nearest}"


def test_the_nearest_is_looked_for_a_limited_number_of_times(facts: BaseFacts) -> None:
    keys = [key for i in range(100) for key in ab(f"model.layers.{i + 10}.mlp.up_proj")]
    violations = match_names(keys, facts).violations
    assert len(violations) == 100
    assert sum("nearest" in violation.expected for violation in violations) == MAX_NEAREST


@pytest.mark.parametrize(
    ("key", "code", "path"),
    [
        (f"{PREFIX}lm_head.lora_A.weight", "TARGET_UNSUPPORTED", "lm_head"),
        (f"{PREFIX}lm_head.base_layer.weight", "TARGET_UNSUPPORTED", "lm_head"),
        (f"{PREFIX}lm_head.weight", "TARGET_UNSUPPORTED", "lm_head"),
        (
            f"{PREFIX}model.embed_tokens.lora_embedding_A",
            "TARGET_UNSUPPORTED",
            "model.embed_tokens",
        ),
        (f"{PREFIX}{Q}.lora_magnitude_vector", "FEATURE_UNSUPPORTED", None),
        (f"{PREFIX}{Q}.lora_B.bias", "FEATURE_UNSUPPORTED", None),
        (f"{PREFIX}{Q}.lora_B.default.bias", "FEATURE_UNSUPPORTED", None),
        (f"{PREFIX}lm_head.modules_to_save.default.weight", "FEATURE_UNSUPPORTED", None),
        (f"{PREFIX}{Q}.weight", "KEY_FORM", None),
        ("anything", "KEY_FORM", None),
    ],
)
def test_a_tensor_that_cannot_be_served_is_named(
    key: str, code: str, path: str | None, facts: BaseFacts
) -> None:
    assert (code, path or key) in refusals([*ab(Q), key], facts)


def test_a_base_without_sites_has_no_nearest(facts: BaseFacts) -> None:
    (violation,) = match_names(ab(Q), replace(facts, sites=())).violations
    assert violation.expected == "a module of the base; nearest is none"
