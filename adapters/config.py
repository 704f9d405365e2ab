"""adapter_config.json: what PEFT wrote, key by key, and what this server makes of each key.

A key is used, inert, refused unless it is off, or unknown. An unknown key that is not off is
refused too, because it may change the mathematics.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from .digest import Json
from .errors import Violation
from .fields import Fields, is_integer, is_off, parse_object, printable, shorten

CONFIG_FILE = "adapter_config.json"
MAX_RANK = 2**31 - 1
DEFAULT_RANK = 8
DEFAULT_ALPHA = 8
INERT_INITS = ("gaussian", "orthogonal", "eva", "mica")
OFF = "null, false, {} or []"
KNOWN = "a key that PEFT's LoRA configs have"

USED_KEYS = frozenset(
    [
        "peft_type",
        "r",
        "lora_alpha",
        "use_rslora",
        "rank_pattern",
        "alpha_pattern",
        "target_modules",
        "exclude_modules",
        "layers_to_transform",
        "layers_pattern",
        "bias",
        "init_lora_weights",
        "base_model_name_or_path",
        "revision",
        "task_type",
    ]
)
INERT_KEYS = frozenset(
    [
        "lora_dropout",
        "fan_in_fan_out",
        "inference_mode",
        "peft_version",
        "auto_mapping",
        "megatron_core",
        "qalora_group_size",
        "eva_config",
        "loftq_config",
        "corda_config",
        "lora_ga_config",
    ]
)
REFUSED_KEYS = frozenset(
    [
        "use_dora",
        "lora_bias",
        "modules_to_save",
        "trainable_token_indices",
        "ensure_weight_tying",
        "target_parameters",
        "layer_replication",
        "alora_invocation_tokens",
        "use_qalora",
        "use_bdlora",
        "arrow_config",
        "kasa_config",
        "monteclora_config",
        "velora_config",
        "megatron_config",
    ]
)


@dataclass(frozen=True, slots=True)
class Selector:
    """Modules as PEFT selects them: by path or dotted suffix, or by one pattern over the path."""

    names: frozenset[str] = frozenset()
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """The part of a LoRA config that decides which modules are adapted, and how.

    Attributes:
        layers: Layer indexes that `target` is restricted to; None is every layer.
        layers_pattern: Names of the module lists that hold the layers; empty is any.
    """

    rank: int
    alpha: float
    rslora: bool
    rank_pattern: Mapping[str, int]
    alpha_pattern: Mapping[str, float]
    target: Selector
    exclude: Selector
    layers: frozenset[int] | None
    layers_pattern: tuple[str, ...]

    def scaling(self, rank: int, alpha: float) -> float:
        return alpha / (math.sqrt(rank) if self.rslora else rank)


class BaseClaim(NamedTuple):
    """The base model that a config says it was trained on."""

    name: str | None
    revision: str | None


class ConfigCheck(NamedTuple):
    """A config as far as it could be read: None where its own values are wrong."""

    config: AdapterConfig | None
    claim: BaseClaim | None
    violations: tuple[Violation, ...]
    warnings: tuple[Violation, ...]


def check_config(data: bytes) -> ConfigCheck:
    """Read an adapter_config.json and name everything in it that cannot be served."""
    try:
        fields = Fields(parse_object(data))
    except ValueError as err:
        violation = Violation("CONFIG_JSON", CONFIG_FILE, str(err), "one JSON object")
        return ConfigCheck(None, None, (violation,), ())
    config = _read_config(fields)
    values_hold = not fields.violations
    claim = BaseClaim(fields.text("base_model_name_or_path"), fields.text("revision"))
    _check_kind(fields)
    _check_init(fields)
    warnings = _check_other_keys(fields)
    return ConfigCheck(config if values_hold else None, claim, tuple(fields.violations), warnings)


def _read_config(fields: Fields) -> AdapterConfig:
    ranks = fields.table("rank_pattern")
    alphas = fields.table("alpha_pattern")
    return AdapterConfig(
        rank=_read_rank(fields, "r", fields.raw.get("r", DEFAULT_RANK)),
        alpha=fields.number("lora_alpha", fields.raw.get("lora_alpha", DEFAULT_ALPHA)),
        rslora=fields.flag("use_rslora"),
        rank_pattern={k: _read_rank(fields, f"rank_pattern.{k}", v) for k, v in ranks.items()},
        alpha_pattern={k: fields.number(f"alpha_pattern.{k}", v) for k, v in alphas.items()},
        target=_read_selector(fields, "target_modules"),
        exclude=_read_exclude(fields),
        layers=_read_layers(fields),
        layers_pattern=_read_layers_pattern(fields),
    )


def _read_rank(fields: Fields, path: str, value: Json) -> int:
    return fields.integer(path, value, low=1, high=MAX_RANK)


def _read_selector(fields: Fields, key: str) -> Selector:
    value = fields.raw.get(key)
    if isinstance(value, str):
        return Selector(pattern=value)
    return Selector(frozenset(fields.texts(key, "a list of module names, or one pattern")))


def _read_exclude(fields: Fields) -> Selector:
    given = bool(fields.raw.get("exclude_modules"))
    return _read_selector(fields, "exclude_modules") if given else Selector()


def _read_layers(fields: Fields) -> frozenset[int] | None:
    key = "layers_to_transform"
    value = fields.raw.get(key)
    if value is None:
        return None
    if isinstance(fields.raw.get("target_modules"), str):
        fields.refuse("CONFIG_VALUE", key, value, "null, as target_modules is one pattern")
        return None
    indexes = value if isinstance(value, list) else [value]
    if not all(map(is_integer, indexes)):
        fields.refuse("CONFIG_VALUE", key, value, "a layer index or a list of them")
    return frozenset(filter(is_integer, indexes)) or None


def _read_layers_pattern(fields: Fields) -> tuple[str, ...]:
    key = "layers_pattern"
    value = fields.raw.get(key)
    if value is None:
        return ()
    if isinstance(fields.raw.get("target_modules"), str):
        fields.refuse("CONFIG_VALUE", key, value, "null, as target_modules is one pattern")
        return ()
    if value and fields.raw.get("layers_to_transform") is None:
        fields.refuse("CONFIG_VALUE", key, value, "null, as layers_to_transform is null")
    if isinstance(value, str):
        return (value,) if value else ()
    return fields.texts(key, "the name of a module list, or a list of them")


def _check_kind(fields: Fields) -> None:
    raw = fields.raw
    if raw.get("peft_type") != "LORA":
        fields.refuse("FEATURE_UNSUPPORTED", "peft_type", raw.get("peft_type"), '"LORA"')
    if raw.get("task_type") not in (None, "CAUSAL_LM"):
        fields.refuse("FEATURE_UNSUPPORTED", "task_type", raw["task_type"], 'null or "CAUSAL_LM"')
    bias = raw.get("bias", "none")
    if bias != "none":
        known = bias in ("all", "lora_only")
        fields.refuse("FEATURE_UNSUPPORTED" if known else "CONFIG_VALUE", "bias", bias, '"none"')


def _check_init(fields: Fields) -> None:
    """Refuse what may have changed the base at the start; an unknown name may have."""
    init = fields.raw.get("init_lora_weights", True)
    if isinstance(init, bool) or init in INERT_INITS:
        return
    code = "INIT_NOT_CONVERTED" if isinstance(init, str) else "CONFIG_VALUE"
    fields.refuse(
        code, "init_lora_weights", init, f"true, false or one of {', '.join(INERT_INITS)}"
    )


def _check_other_keys(fields: Fields) -> tuple[Violation, ...]:
    """Refuse keys that are not off; answer a warning for each unknown key that is."""
    warnings = []
    for key, value in fields.raw.items():
        if key in USED_KEYS or key in INERT_KEYS:
            continue
        if not is_off(value):
            code = "FEATURE_UNSUPPORTED" if key in REFUSED_KEYS else "CONFIG_UNKNOWN"
            fields.refuse(code, key, value, OFF)
        elif key not in REFUSED_KEYS:
            warnings.append(Violation("CONFIG_UNKNOWN", printable(key), shorten(value), KNOWN))
    return tuple(warnings)
