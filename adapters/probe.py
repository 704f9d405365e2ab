"""The proof before a publish: the engine adds what the uploaded tensors say, and it has an effect.

The engine runs `probe_tokens` through the base and through the adapter, and captures each site.
What it captured is compared here with plain torch on the *uploaded* tensors, not on the image, so
that a mistake in packing is found too.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import Refused, Violation
from .sites import BaseFacts, Site
from .weights import CheckedAdapter, CheckedModule

NUM_TOKENS = 32
STRIDE = 7919  # a prime, so that the tokens are spread over any vocabulary
TOLERANCES = {"float32": 1e-5, "float16": 4e-3, "bfloat16": 3e-2}
"""Largest ‖engine - definition‖ / ‖definition‖: four epsilons, or what fp32 sums lose."""


@dataclass(frozen=True, slots=True, eq=False)
class SiteCapture:
    """One site under the probe's tokens.

    Attributes:
        x_TK: What went into the site, in the serving dtype.
        delta_TN: What shrink and expand add to zeros [T, out-features of all members].
    """

    site: str
    x_TK: Tensor
    delta_TN: Tensor


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """How far the engine is from the definition, and the adapter from the base."""

    largest_error: float
    logit_change: float


def probe_tokens(vocab_size: int) -> tuple[int, ...]:
    """The same tokens for every adapter of a base."""
    return tuple((i + 1) * STRIDE % vocab_size for i in range(NUM_TOKENS))


def check_probe(
    adapter: CheckedAdapter,
    facts: BaseFacts,
    captures: Sequence[SiteCapture],
    *,
    base_logits_TV: Tensor,
    adapted_logits_TV: Tensor,
    allow_no_effect: bool = False,
) -> ProbeResult:
    """Judge a probe.

    Raises:
        Refused: `PROBE_MISMATCH` for every slice that differs from the definition by more than
            the serving dtype's tolerance or that was not captured, `PROBE_NOT_FINITE`,
            `NO_EFFECT`.
    """
    errors = measure_errors(adapter, facts, captures)
    found = [*_mismatches(errors, facts), *_missing(adapter, errors)]
    finite = bool(torch.isfinite(adapted_logits_TV).all())
    change = float((adapted_logits_TV - base_logits_TV).abs().max())
    if not finite:
        found.append(Violation("PROBE_NOT_FINITE", "", "NaN or infinite logits", "finite logits"))
    elif change == 0 and not allow_no_effect:
        found.append(Violation("NO_EFFECT", "", "the base's logits", "other logits"))
    if found:
        raise Refused(tuple(found))
    return ProbeResult(max(errors.values(), default=0.0), change)


def measure_errors(
    adapter: CheckedAdapter, facts: BaseFacts, captures: Iterable[SiteCapture]
) -> dict[str, float]:
    """Answer, for every module of the captured sites, ‖engine - definition‖ / ‖definition‖.

    Where the definition is zero, as for a module without an adapter, any difference is infinite.
    """
    modules = {module.name: module for module in adapter.modules}
    sites = {site.name: site for site in facts.sites}
    errors = {}
    for capture in captures:
        for name, delta_TN in _split(sites[capture.site], capture.delta_TN):
            module = modules.get(name)
            wanted_TN = None if module is None else plain_delta(capture.x_TK, module)
            errors[name] = _relative_error(delta_TN.double(), wanted_TN)
    return errors


def plain_delta(x_TK: Tensor, module: CheckedModule) -> Tensor:
    """The definition: scaling · (x Aᵀ) Bᵀ [T, N] of the uploaded tensors, in float64."""
    a_RK, b_NR = (half.to(x_TK.device).double() for half in (module.a, module.b))
    return module.scaling * (x_TK.double() @ a_RK.T) @ b_NR.T


def _split(site: Site, delta_TN: Tensor) -> Iterator[tuple[str, Tensor]]:
    widths = [member.out_features for member in site.members]
    for member, slice_TN in zip(site.members, torch.split(delta_TN, widths, dim=1), strict=True):
        yield member.name, slice_TN


def _relative_error(delta_TN: Tensor, wanted_TN: Tensor | None) -> float:
    """NaN in `delta_TN` is an infinite error."""
    error = float((delta_TN if wanted_TN is None else delta_TN - wanted_TN).norm())
    size = 0.0 if wanted_TN is None else float(wanted_TN.norm())
    if error == 0:
        return 0.0
    return error / size if size > 0 and math.isfinite(error) else math.inf


def _mismatches(errors: Mapping[str, float], facts: BaseFacts) -> Iterator[Violation]:
    tolerance = TOLERANCES[facts.dtype]
    for name, error in errors.items():
        if error > tolerance:
            expected = f"at most {tolerance:g} in {facts.dtype}"
            yield Violation("PROBE_MISMATCH", name, f"relative error {error:.2g}", expected)


def _missing(adapter: CheckedAdapter, errors: Mapping[str, float]) -> Iterator[Violation]:
    for module in adapter.modules:
        if module.name not in errors:
            found = "the engine ran no adapter there"
            yield Violation("PROBE_MISMATCH", module.name, found, "its delta")
