"""Which modules a config adapts, with which rank and scaling, exactly as PEFT decides it."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from .config import AdapterConfig, Selector
from .errors import Violation
from .fields import printable
from .patterns import (
    MATCH_TIMEOUT_S,
    Expression,
    Matches,
    layer_list,
    match_paths,
    path_end,
    whole_path,
)
from .sites import BaseFacts

ALL_LINEAR = "all-linear"
LINEAR_CLASSES = frozenset({"Linear", "Conv1D"})
OUTPUT_EMBEDDINGS = frozenset({"lm_head", "embed_out"})

_FIRST_INDEX = re.compile(r".*?\.[^.]*\.(?P<idx>\d+)\.")


class Target(NamedTuple):
    """How one module is adapted; scaling is alpha / rank, or alpha / sqrt(rank) under rsLoRA."""

    rank: int
    scaling: float


class Plan(NamedTuple):
    """What a config asks for; `targets` is None where its patterns cannot be evaluated."""

    targets: Mapping[str, Target] | None
    violations: tuple[Violation, ...]


def plan_targets(
    config: AdapterConfig, facts: BaseFacts, *, timeout_s: float = MATCH_TIMEOUT_S
) -> Plan:
    """Evaluate a config's selectors and patterns over the base's modules."""
    names = [*facts.members, *facts.other_modules]
    expressions = dict(_expressions(config))
    broken = tuple(
        Violation("CONFIG_VALUE", printable(path), "not a regular expression", "one that compiles")
        for path, expression in expressions.items()
        if not expression.compiles
    )
    if broken:
        return Plan(None, broken)
    found = match_paths(list(expressions.values()), names, timeout_s=timeout_s)
    if found is None:
        return Plan(None, (_too_slow(expressions, timeout_s),))
    matches = dict(zip(expressions, found, strict=True))
    selected = [name for name in names if _is_selected(name, config, facts, matches)]
    targets = {name: _target(name, config, matches) for name in selected}
    return Plan(targets, (*_unmatched(config, matches, selected), *_unsupported(selected, facts)))


def _too_slow(paths: Iterable[str], timeout_s: float) -> Violation:
    limit = f"patterns that are matched within {timeout_s:g} s"
    return Violation("CONFIG_VALUE", printable(", ".join(paths)), "not matched in time", limit)


def _expressions(config: AdapterConfig) -> Iterator[tuple[str, Expression]]:
    """Yield every pattern of the config under its path."""
    if config.target.pattern is not None:
        yield "target_modules", whole_path(config.target.pattern)
    if config.exclude.pattern is not None:
        yield "exclude_modules", whole_path(config.exclude.pattern)
    for pattern in config.layers_pattern:
        yield f"layers_pattern.{pattern}", layer_list(pattern)
    for pattern in config.rank_pattern:
        yield f"rank_pattern.{pattern}", path_end(pattern)
    for pattern in config.alpha_pattern:
        yield f"alpha_pattern.{pattern}", path_end(pattern)


def _is_selected(
    name: str, config: AdapterConfig, facts: BaseFacts, matches: Mapping[str, Matches]
) -> bool:
    if _ends_with_any(name, config.exclude) or name in matches.get("exclude_modules", {}):
        return False
    pattern = config.target.pattern
    if pattern is not None and pattern.lower() == ALL_LINEAR:
        return _is_hidden_linear(name, facts)
    if pattern is not None:
        return name in matches["target_modules"]
    if name in config.target.names:
        return True
    return _ends_with_any(name, config.target) and _is_in_layers(name, config, matches)


def _ends_with_any(name: str, selector: Selector) -> bool:
    return any(name == end or name.endswith(f".{end}") for end in selector.names)


def _is_hidden_linear(name: str, facts: BaseFacts) -> bool:
    """Every Linear but the output embedding, which no base's facts mark: known by its name."""
    if name in facts.other_modules:
        is_output = name.rpartition(".")[2] in OUTPUT_EMBEDDINGS
        return facts.other_modules[name] in LINEAR_CLASSES and not is_output
    return True


def _is_in_layers(name: str, config: AdapterConfig, matches: Mapping[str, Matches]) -> bool:
    if config.layers is None:
        return True
    index = _layer_index(name, config.layers_pattern, matches)
    return index is not None and int(index) in config.layers


def _layer_index(
    name: str, layers_pattern: Sequence[str], matches: Mapping[str, Matches]
) -> str | None:
    if not layers_pattern:
        match = _FIRST_INDEX.match(name)
        return match["idx"] if match else None
    found = (matches[f"layers_pattern.{pattern}"] for pattern in layers_pattern)
    return next((names[name] for names in found if name in names), None)


def _target(name: str, config: AdapterConfig, matches: Mapping[str, Matches]) -> Target:
    rank_key = _first_key("rank_pattern", config.rank_pattern, name, matches)
    alpha_key = _first_key("alpha_pattern", config.alpha_pattern, name, matches)
    rank = config.rank if rank_key is None else config.rank_pattern[rank_key]
    alpha = config.alpha if alpha_key is None else config.alpha_pattern[alpha_key]
    return Target(rank, config.scaling(rank, alpha))


def _first_key(
    table: str, patterns: Mapping[str, float], name: str, matches: Mapping[str, Matches]
) -> str | None:
    return next((key for key in patterns if name in matches[f"{table}.{key}"]), None)


def _unmatched(
    config: AdapterConfig, matches: Mapping[str, Matches], selected: Sequence[str]
) -> Iterator[Violation]:
    keys = [f"rank_pattern.{key}" for key in config.rank_pattern]
    keys += [f"alpha_pattern.{key}" for key in config.alpha_pattern]
    for path in keys:
        if matches[path].keys().isdisjoint(selected):
            yield Violation(
                "PATTERN_UNMATCHED", printable(path), "no module", "a pattern of an adapted module"
            )


def _unsupported(selected: Sequence[str], facts: BaseFacts) -> Iterator[Violation]:
    for name in selected:
        if name in facts.other_modules:
            yield unsupported(name, facts)


def unsupported(name: str, facts: BaseFacts) -> Violation:
    """Say that a module of the base takes no adapter."""
    return Violation(
        "TARGET_UNSUPPORTED",
        name,
        facts.other_modules[name],
        "a Linear that takes adapters on this server",
    )
