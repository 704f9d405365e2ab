"""Admission: everything that is wrong with an adapter, at once, before anyone can ask it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from .config import CONFIG_FILE, ConfigCheck, check_config
from .digest import ModuleDigest, adapter_digest, digest_tensor
from .errors import Refused, Violation
from .evidence import BASE_KEY, TEMPLATE_KEY, Evidence, judge_base, judge_template
from .layout import fold_scaling, serving_dtype
from .sites import BaseFacts
from .targets import Plan, Target, plan_targets
from .tensor_checks import (
    Limits,
    WholePair,
    check_ranks,
    check_shapes,
    check_targets,
    check_values,
    find_whole,
)
from .tensor_file import TensorFile, open_tensors, write_metadata
from .tensor_names import match_names

MAX_CONFIG_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class CheckedModule:
    """One adapted module: a [r, K] and b [N, r] as uploaded; scaling is not applied."""

    name: str
    rank: int
    scaling: float
    a: Tensor
    b: Tensor

    def serve(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return A [r, K] and scaling · Bᵀ [r, N] as the arena holds them."""
        return self.a.to(dtype), fold_scaling(self.b, self.scaling, dtype)


@dataclass(frozen=True, slots=True, eq=False)
class CheckedAdapter:
    """An adapter that fits its base.

    Attributes:
        modules: Sorted by name; their tensors are mapped from the uploaded file.
        dtype: Serving dtype that the values were checked for.
    """

    digest: str
    modules: tuple[CheckedModule, ...]
    warnings: tuple[Violation, ...]
    evidence: Evidence
    dtype: str


def check_adapter(
    config_path: Path,
    weights_path: Path,
    facts: BaseFacts,
    *,
    limits: Limits,
    assert_base: bool = False,
    allow_no_effect: bool = False,
) -> CheckedAdapter:
    """Check an adapter in PEFT's layout against its base.

    Args:
        assert_base: The publisher says that it fits, in place of evidence for the base.
        allow_no_effect: Admit an adapter whose every B is zero.

    Raises:
        Refused: With every violation that was found, not only the first.
    """
    config = _read_config(config_path)
    plan = plan_targets(config.config, facts) if config.config else Plan(None, ())
    found = [*config.violations, *plan.violations]
    try:
        file = open_tensors(weights_path, max_bytes=limits.max_file_bytes)
    except Refused as err:
        raise Refused((*found, *err.violations)) from err
    content = _check_content(file, plan.targets, facts, limits)
    found += content.violations
    if content.is_zero and not allow_no_effect:
        found.append(Violation("NO_EFFECT", "", "every A or B is zero", "an effect"))
    evidence = judge_base(config.claim, file.metadata, facts, asserted=assert_base)
    if isinstance(evidence, Violation):
        raise Refused(tuple(dict.fromkeys((*found, evidence))))
    if found:
        raise Refused(tuple(dict.fromkeys(found)))
    warnings = (*config.warnings, *content.warnings, *judge_template(file.metadata, facts))
    digest = adapter_digest(facts.digest, map(_digest_module, content.modules))
    return CheckedAdapter(digest, content.modules, warnings, evidence, facts.dtype)


def stamp_base(path: Path, digest: str, *, template_digest: str = "") -> None:
    """Write into a safetensors file which base, and which chat template, it was trained on."""
    template = {TEMPLATE_KEY: template_digest} if template_digest else {}
    write_metadata(path, {BASE_KEY: digest, **template})


def _read_config(path: Path) -> ConfigCheck:
    if not path.is_file():
        return _no_config("FILE_SET", "missing", CONFIG_FILE)
    size = path.stat().st_size
    if size > MAX_CONFIG_BYTES:
        return _no_config("FILE_TOO_LARGE", f"{size} bytes", f"at most {MAX_CONFIG_BYTES} bytes")
    return check_config(path.read_bytes())


def _no_config(code: str, found: str, expected: str) -> ConfigCheck:
    return ConfigCheck(None, None, (Violation(code, CONFIG_FILE, found, expected),), ())


class _Content(NamedTuple):
    """The tensors of a file; `is_zero` says that the adapter is whole and does nothing."""

    modules: tuple[CheckedModule, ...]
    violations: tuple[Violation, ...]
    warnings: tuple[Violation, ...]
    is_zero: bool


def _check_content(
    file: TensorFile, targets: Mapping[str, Target] | None, facts: BaseFacts, limits: Limits
) -> _Content:
    """Check the tensors as far as the config, None where it is unreadable, lets them be judged."""
    pairs, violations = match_names(file.entries, facts)
    found = [*violations, *check_shapes(pairs, file.entries, facts)]
    if targets is not None:
        found += check_targets(pairs, targets, facts)
    whole = find_whole(pairs, file.entries, facts)
    ranks = {name: pair.rank for name, pair in whole.items()}
    found += check_ranks(ranks, targets or {}, limits, facts)
    modules = _load_modules(file, whole, targets or {})
    zeros = []
    for module in modules:
        a, b = module.serve(serving_dtype(facts))
        a_check = check_values(whole[module.name].a, module.a, a)
        b_check = check_values(whole[module.name].b, module.b, b)
        found += (*a_check.violations, *b_check.violations)
        if a_check.is_zero or b_check.is_zero:
            zeros.append(Violation("ZERO_MODULE", module.name, "A or B is zero", "an effect"))
    is_zero = 2 * len(zeros) == len(file.entries)
    return _Content(modules, tuple(found), tuple(zeros), is_zero)


def _load_modules(
    file: TensorFile, whole: Mapping[str, WholePair], targets: Mapping[str, Target]
) -> tuple[CheckedModule, ...]:
    """Map the modules' tensors; a module that the config does not select has scaling 1."""
    tensors = file.read()
    scalings = {name: target.scaling for name, target in targets.items()}
    return tuple(
        CheckedModule(name, pair.rank, scalings.get(name, 1.0), tensors[pair.a], tensors[pair.b])
        for name, pair in sorted(whole.items())
    )


def _digest_module(module: CheckedModule) -> ModuleDigest:
    a, b = digest_tensor(module.a), digest_tensor(module.b)
    return ModuleDigest(module.name, module.rank, module.scaling, a, b)
