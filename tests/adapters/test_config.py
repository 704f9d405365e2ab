import json
import math

import pytest
from peft import LoraConfig

from weft.adapters.config import (
    INERT_KEYS,
    REFUSED_KEYS,
    USED_KEYS,
    AdapterConfig,
    BaseClaim,
    ConfigCheck,
    Selector,
    check_config,
)
from weft.adapters.digest import Json

MINIMAL: dict[str, Json] = {"peft_type": "LORA", "target_modules": ["q_proj"]}


def check(**keys: Json) -> ConfigCheck:
    return check_config(json.dumps({**MINIMAL, **keys}).encode())


def read(**keys: Json) -> AdapterConfig:
    checked = check(**keys)
    assert checked.violations == ()
    assert checked.config is not None
    return checked.config


def codes(checked: ConfigCheck) -> list[tuple[str, str]]:
    return [(violation.code, violation.path) for violation in checked.violations]


def test_every_key_that_peft_writes_has_a_treatment() -> None:
    assert set(LoraConfig().to_dict()) <= USED_KEYS | INERT_KEYS | REFUSED_KEYS
    assert len(USED_KEYS | INERT_KEYS | REFUSED_KEYS) == sum(
        map(len, (USED_KEYS, INERT_KEYS, REFUSED_KEYS))
    )


def test_a_config_as_peft_saves_it_is_accepted_without_a_warning() -> None:
    raw = LoraConfig(r=4, lora_alpha=6, target_modules=["q_proj"], use_rslora=True).to_dict()
    raw["target_modules"] = sorted(raw["target_modules"])
    checked = check_config(json.dumps(raw).encode())
    assert (checked.violations, checked.warnings) == ((), ())
    assert checked.config is not None
    assert checked.config.scaling(4, 6.0) == 6 / math.sqrt(4)


def test_missing_keys_have_pefts_meaning() -> None:
    assert read() == AdapterConfig(
        rank=8,
        alpha=8.0,
        rslora=False,
        rank_pattern={},
        alpha_pattern={},
        target=Selector(frozenset({"q_proj"})),
        exclude=Selector(),
        layers=None,
        layers_pattern=(),
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'"text"',
        b"{",
        b"\xff{}",
        b"\xef\xbb\xbf{}",
        b'{"r": 4, "r": 8}',
        b'{"rank_pattern": {"q": 4, "q": 8}}',
        b"[" * 100_000,
        b'{"r": ' + b"1" * 5000 + b"}",
    ],
    ids=lambda data: repr(data[:16]),
)
def test_what_is_not_one_json_object_is_refused(data: bytes) -> None:
    checked = check_config(data)
    assert codes(checked) == [("CONFIG_JSON", "adapter_config.json")]
    assert (checked.config, checked.claim) == (None, None)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("r", 0),
        ("r", -4),
        ("r", 4.0),
        ("r", True),
        ("r", None),
        ("r", "8"),
        ("r", 10**400),
        ("lora_alpha", math.nan),
        ("lora_alpha", math.inf),
        ("lora_alpha", 10**400),
        ("lora_alpha", "16"),
        ("lora_alpha", None),
        ("use_rslora", 1),
        ("rank_pattern", [4]),
        ("alpha_pattern", "q_proj"),
        ("target_modules", None),
        ("target_modules", [1]),
        ("target_modules", {"q_proj": 1}),
        ("exclude_modules", [None]),
        ("layers_to_transform", "0"),
        ("layers_to_transform", [0, 1.0]),
        ("layers_to_transform", True),
        ("layers_pattern", "layers"),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_and_leaves_no_config(key: str, value: Json) -> None:
    checked = check(**{key: value})
    assert codes(checked) == [("CONFIG_VALUE", key)]
    assert checked.config is None
    assert checked.claim is not None


def test_wrong_values_of_patterns_are_named_by_their_keys() -> None:
    checked = check(rank_pattern={"q": 0, "v": 4}, alpha_pattern={"v": None})
    assert codes(checked) == [
        ("CONFIG_VALUE", "rank_pattern.q"),
        ("CONFIG_VALUE", "alpha_pattern.v"),
    ]


def test_layers_cannot_restrict_a_pattern_as_in_peft() -> None:
    checked = check(target_modules=".*q_proj", layers_to_transform=[0], layers_pattern=[])
    assert codes(checked) == [
        ("CONFIG_VALUE", "layers_to_transform"),
        ("CONFIG_VALUE", "layers_pattern"),
    ]


def test_selectors_are_lists_or_one_pattern() -> None:
    config = read(target_modules=".*_proj", exclude_modules=["v_proj"])
    assert config.target == Selector(pattern=".*_proj")
    assert config.exclude == Selector(frozenset({"v_proj"}))
    assert read(exclude_modules="").exclude == Selector()
    assert read(layers_to_transform=3).layers == frozenset({3})
    assert read(layers_to_transform=[]).layers is None
    assert read(layers_to_transform=[1], layers_pattern="h").layers_pattern == ("h",)


@pytest.mark.parametrize("init", [True, False, "gaussian", "orthogonal", "eva", "mica"])
def test_an_initialisation_that_leaves_the_base_alone_is_inert(init: Json) -> None:
    assert read(init_lora_weights=init) == read()


@pytest.mark.parametrize(
    "init", ["pissa", "pissa_niter_16", "olora", "corda", "loftq", "lora_ga", "next_years_init"]
)
def test_an_initialisation_that_may_change_the_base_is_refused(init: str) -> None:
    assert codes(check(init_lora_weights=init)) == [("INIT_NOT_CONVERTED", "init_lora_weights")]


def test_an_initialisation_of_another_type_is_refused() -> None:
    assert codes(check(init_lora_weights=None)) == [("CONFIG_VALUE", "init_lora_weights")]


@pytest.mark.parametrize("key", sorted(INERT_KEYS))
def test_inert_keys_change_nothing(key: str) -> None:
    assert read(**{key: {"any": "value"}}) == read()


@pytest.mark.parametrize("key", sorted(REFUSED_KEYS))
def test_features_are_refused_by_name_unless_off(key: str) -> None:
    checked = check(**{key: ["something"]})
    assert codes(checked) == [("FEATURE_UNSUPPORTED", key)]
    assert checked.config is not None
    offs: tuple[Json, ...] = (None, False, {}, [])
    for off in offs:
        assert check(**{key: off})[2:] == ((), ())


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("peft_type", "LOHA", "FEATURE_UNSUPPORTED"),
        ("peft_type", "lora", "FEATURE_UNSUPPORTED"),
        ("peft_type", None, "FEATURE_UNSUPPORTED"),
        ("task_type", "SEQ_CLS", "FEATURE_UNSUPPORTED"),
        ("bias", "all", "FEATURE_UNSUPPORTED"),
        ("bias", "lora_only", "FEATURE_UNSUPPORTED"),
        ("bias", None, "CONFIG_VALUE"),
        ("bias", ["none"], "CONFIG_VALUE"),
        ("brand_new_math", True, "CONFIG_UNKNOWN"),
        ("brand_new_math", 0, "CONFIG_UNKNOWN"),
        ("brand_new_math", "", "CONFIG_UNKNOWN"),
    ],
    ids=str,
)
def test_what_is_not_served_is_refused(key: str, value: Json, code: str) -> None:
    assert codes(check(**{key: value})) == [(code, key)]


@pytest.mark.parametrize("off", [None, False, {}, []], ids=str)
def test_an_unknown_key_that_is_off_is_a_warning(off: Json) -> None:
    checked = check(brand_new_math=off)
    assert checked.violations == ()
    assert [(w.code, w.path) for w in checked.warnings] == [("CONFIG_UNKNOWN", "brand_new_math")]


def test_the_claimed_base_is_reported_even_beside_wrong_values() -> None:
    assert check(base_model_name_or_path="org/base", revision="main", r=0).claim == BaseClaim(
        "org/base", "main"
    )
    assert check(base_model_name_or_path="", revision=None).claim == BaseClaim(None, None)
    assert codes(check(base_model_name_or_path=7)) == [("CONFIG_VALUE", "base_model_name_or_path")]


def test_all_violations_come_back_together() -> None:
    checked = check(r=0, use_dora=True, bias="all", init_lora_weights="olora", novelty=1)
    assert {code for code, _ in codes(checked)} == {
        "CONFIG_VALUE",
        "FEATURE_UNSUPPORTED",
        "INIT_NOT_CONVERTED",
        "CONFIG_UNKNOWN",
    }
    assert len(checked.violations) == 5


def test_what_a_violation_shows_is_short_and_printable() -> None:
    checked = check_config(
        b'{"peft_type": "LORA", "target_modules": [], "\\ud800\\u0000": "%s"}' % (b"x" * 999)
    )
    (violation,) = checked.violations
    assert len(violation.found) <= 80
    assert str(violation).isprintable()
    assert str(violation).isascii()
