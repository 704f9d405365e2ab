"""Options of a fine-tuning job: their defaults, their bounds, and what this server does not have.

The JSON form is flat but for `lora`: `{"lora": {"rank": 8}, "learning_rate": 1e-3}`. An option that
is known but not built is refused by name, unless it has the value that means "off".
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal, cast

from .errors import OptionsInvalid, Unsupported, Violation

UNSUPPORTED: Mapping[str, object] = {
    "lora.init": "default",
    "lora.dora": False,
    "lora.plus_ratio": 1,
    "method": "sft",
    "parent": None,
    "base_precision": "bf16",
    "optimizer": "adamw",
    "max_trained_tokens": None,
    "deterministic": False,
    "early_stop": None,
    "samples": 0,
    "select": "final",
}
SCHEDULES = ("cosine", "linear", "constant")


@dataclass(frozen=True, slots=True)
class LoraOptions:
    """The adapter's shape.

    Attributes:
        alpha: None for twice the rank.
        rslora: Scaling is alpha / √rank instead of alpha / rank.
        targets: `attention`, `mlp`, `all-linear`, or names of modules (a path or its end).
        rank_pattern, alpha_pattern: Module name (a regular expression for its end) → value.
    """

    rank: int = 16
    alpha: float | None = None
    rslora: bool = False
    targets: tuple[str, ...] = ("all-linear",)
    rank_pattern: Mapping[str, int] = field(default_factory=dict)
    alpha_pattern: Mapping[str, float] = field(default_factory=dict)
    dropout: float = 0.0


@dataclass(frozen=True, slots=True)
class FinetuneOptions:
    """How to train. None means: resolved when the data are known, and then stored with the job.

    Attributes:
        warmup: Share of the steps over which the learning rate rises.
        batch_tokens: Tokens per optimizer step; default a sixteenth of the set, 256 to 16,384.
        max_tokens: Row length, and the length of a pack; default the model's, at most 4,096.
        packing: None packs where attention can separate the rows.
        loss: `assistant` trains the assistant's turns, `all` every token.
        eval_every: Steps between evaluations; default ten times per job.
        eval_fraction: Held-out part; default 0 below 100 rows, else 0.05.
        checkpoint_every: Steps between checkpoints.
    """

    lora: LoraOptions = field(default_factory=LoraOptions)
    learning_rate: float = 2e-4
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: float = 0.03
    batch_tokens: int | None = None
    max_tokens: int | None = None
    truncate: Literal["end", "error"] = "end"
    drop_masked: bool = False
    packing: bool | None = None
    loss: Literal["assistant", "all"] = "assistant"
    epochs: float = 3.0
    max_steps: int | None = None
    weight_decay: float = 0.0
    grad_clip: float = 1.0
    seed: int | None = None
    eval_every: int | None = None
    eval_fraction: float | None = None
    checkpoint_every: int = 200

    def to_json(self) -> dict[str, object]:
        """The JSON form, which `read_options` reads back; options left open are left out."""
        values = {name: value for name, value in asdict(self).items() if value is not None}
        lora = cast("dict[str, object]", values["lora"])
        values["lora"] = {name: value for name, value in lora.items() if value is not None}
        return values


@dataclass(frozen=True, slots=True)
class Number:
    """A number within bounds, both included."""

    low: float
    high: float = math.inf
    whole: bool = False

    def accepts(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            return False
        return math.isfinite(value) and self.low <= value <= self.high

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        return f"{kind} from {self.low:g}" + (f" to {self.high:g}" if self.high < math.inf else "")


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few values."""

    values: tuple[object, ...]

    def accepts(self, value: object) -> bool:
        return any(type(value) is type(v) and value == v for v in self.values)

    def __str__(self) -> str:
        return "one of " + ", ".join(map(repr, self.values))


@dataclass(frozen=True, slots=True)
class Names:
    """A list of texts, not empty."""

    def accepts(self, value: object) -> bool:
        return (
            isinstance(value, list | tuple)
            and bool(value)
            and all(isinstance(name, str) and name for name in value)
        )

    def __str__(self) -> str:
        return "a list of texts"


@dataclass(frozen=True, slots=True)
class Table:
    """A table from texts to numbers."""

    number: Number

    def accepts(self, value: object) -> bool:
        return isinstance(value, Mapping) and all(
            isinstance(key, str) and key and self.number.accepts(item)
            for key, item in value.items()
        )

    def __str__(self) -> str:
        return f"a table of module names, each {self.number}"


Rule = Number | Choice | Names | Table
SWITCH = Choice((True, False))


def make_rules(max_rank: int) -> Mapping[str, Rule]:
    """What every option may be, `lora.` in front of those of the adapter."""
    rank = Number(1, max_rank, whole=True)
    count = Number(1, whole=True)
    tiny = 1e-12
    return {
        "lora.rank": rank,
        "lora.alpha": Number(tiny, 65536),
        "lora.rslora": SWITCH,
        "lora.targets": Names(),
        "lora.rank_pattern": Table(rank),
        "lora.alpha_pattern": Table(Number(tiny, 65536)),
        "lora.dropout": Number(0, 0.5),
        "learning_rate": Number(tiny, 1),
        "schedule": Choice(SCHEDULES),
        "warmup": Number(0, 1),
        "batch_tokens": count,
        "max_tokens": Number(2, whole=True),
        "truncate": Choice(("end", "error")),
        "drop_masked": SWITCH,
        "packing": SWITCH,
        "loss": Choice(("assistant", "all")),
        "epochs": Number(tiny, 1000),
        "max_steps": count,
        "weight_decay": Number(0, 1),
        "grad_clip": Number(tiny),
        "seed": Number(0, 2**64 - 1, whole=True),
        "eval_every": count,
        "eval_fraction": Number(0, 0.5),
        "checkpoint_every": count,
    }


def read_options(value: Mapping[str, object], *, max_rank: int = 256) -> FinetuneOptions:
    """Read the JSON form.

    Raises:
        OptionsInvalid: Every option that is unknown or out of bounds.
        Unsupported: An option that this server does not have, by name.
    """
    given = flatten(value)
    wanted = [name for name, off in UNSUPPORTED.items() if given.pop(name, off) != off]
    if wanted:
        message = f"{', '.join(wanted)}: not supported by this server"
        raise Unsupported(message, features=",".join(wanted))
    rules = make_rules(max_rank)
    wrong = [
        Violation("OPTION_VALUE", name, repr(item), str(rules.get(name, "a known option")))
        for name, item in given.items()
        if name not in rules or not rules[name].accepts(item)
    ]
    if wrong:
        raise OptionsInvalid(tuple(wrong))
    lora = {name[5:]: item for name, item in given.items() if name.startswith("lora.")}
    if "targets" in lora:
        lora["targets"] = tuple(cast("list[str]", lora["targets"]))
    flat = {name: item for name, item in given.items() if not name.startswith("lora.")}
    return FinetuneOptions(lora=LoraOptions(**lora), **flat)  # type: ignore[arg-type]


def flatten(value: Mapping[str, object]) -> dict[str, object]:
    """Give options of `lora` their dotted names; a null is as good as absent."""
    lora = value.get("lora")
    nested = {f"lora.{k}": v for k, v in lora.items()} if isinstance(lora, Mapping) else {}
    outer = {k: v for k, v in value.items() if k != "lora" or not isinstance(v, Mapping)}
    return {name: item for name, item in (nested | outer).items() if item is not None}
