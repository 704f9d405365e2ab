"""The suite `quantise`: what a quantised base gains in speed, and loses in perplexity."""

from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from weft.server.config import QUANTISATIONS
from weft.server.model.facts import base_facts
from weft.server.model.loader import load_model

from .bed import Bed, make_bed
from .cases import Case, Entry, Heat, base_case, mixed_case
from .ceilings import MIB, measure_ceilings
from .figures import UNITS, Held
from .machine import find_hardware, find_versions
from .options import EngineOptions
from .perplexity import Shop, find_perplexities
from .record import Beginning, Cell, Check, Invocation, Ratio, Record
from .shapes import SHAPES
from .suite import Say, hold_heat

FIGURES = ("rate", "step_ms")
SERVED = {"cpu": "int8", "cuda": "fp8"}
"""What is timed on a device; the perplexity of each is found on any."""
MAX_RISE = 0.01
"""Of a perplexity."""

Perplexities = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class QuantiseOptions:
    """How large the random base is that is timed, and where the base lies that was trained.

    Attributes:
        shop: Has the base, its adapters and their data.
    """

    small: bool
    device: str
    dtype: str
    threads: int
    seed: int
    shop: Path

    def engine(self) -> EngineOptions:
        shape = SHAPES["tiny" if self.small else "82m"]
        return EngineOptions(
            shape=shape,
            device=self.device,
            dtype=self.dtype,
            num_adapters=shape.batch // 2,
            ranks=(8, 16, 32, 64),
            batch=shape.batch,
            prompt_tokens=shape.prompt_tokens,
            new_tokens=shape.new_tokens,
            threads=self.threads,
            seed=self.seed,
        )


def run_quantise(
    options: QuantiseOptions, folder: Path, *, invocation: Invocation, say: Say
) -> Record:
    """Find the perplexities, then time a plain and a quantised base in turn."""
    beginning = Beginning()
    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    engine = options.engine()
    torch.set_num_threads(engine.threads)
    ceilings = measure_ceilings(device, dtype, copy_bytes=64 * MIB, matmul_size=1024)
    found = {}
    for quantisation in (None, *QUANTISATIONS):
        say(f"finding perplexities, quantisation {quantisation}")
        precision, perplexities = _perplexities(options, quantisation, folder)
        found[precision] = perplexities
    heat, held = _hold(options, engine, folder, say)
    return Record(
        suite="quantise-small" if options.small else "quantise",
        conditions=beginning.conditions(
            **invocation._asdict(),
            seed=options.seed,
            hardware=find_hardware(device),
            versions=find_versions(),
            ceilings=ceilings,
        ),
        parameters={
            "shape": engine.shape.name,
            "device": options.device,
            "dtype": options.dtype,
            "adapters": engine.num_adapters,
            "ranks": ",".join(map(str, engine.ranks)),
            "batch": engine.batch,
            "prompt_tokens": engine.prompt_tokens,
            "new_tokens": engine.new_tokens,
            "warm_up_runs": 1,
        },
        checks=check_perplexities(found, plain=options.dtype),
        cells=[*_perplexity_cells(found), *_speed_cells(heat, held)],
        ratios=_ratios(heat, held, plain=options.dtype),
        loads=[],
        verdicts=[],
    )


def check_perplexities(found: Mapping[str, Perplexities], *, plain: str) -> list[Check]:
    """Of each quantised base beside the plain one's: the largest rise, and every figure."""
    return [
        _check(precision, perplexities, found[plain])
        for precision, perplexities in found.items()
        if precision != plain
    ]


def _check(precision: str, perplexities: Perplexities, plain: Perplexities) -> Check:
    rises = {name: value / plain[name] - 1 for name, value in perplexities.items()}
    figures = (
        f"{name} {plain[name]:.4f} to {value:.4f} ({rises[name]:+.2%})"
        for name, value in perplexities.items()
    )
    return Check(
        f"perplexity in {precision}",
        max(rises.values()) <= MAX_RISE,
        f"{', '.join(figures)}; {MAX_RISE:.0%} more is the limit",
        rises,
    )


def _perplexities(
    options: QuantiseOptions, quantisation: str | None, folder: Path
) -> tuple[str, Perplexities]:
    shop = Shop(options.shop)
    facts = base_facts(
        shop.base, name="base", dtype=options.dtype, hash_cache=None, quantisation=quantisation
    )
    model = load_model(shop.base, facts=facts, device="cpu", dtype=getattr(torch, options.dtype))
    return facts.precision, find_perplexities(model, shop, folder)


def _hold(
    options: QuantiseOptions, engine: EngineOptions, folder: Path, say: Say
) -> tuple[Heat, Held]:
    """Time batches of the base and of mixed adapters, and a single sequence, on both bases."""
    quantisations = (None, SERVED[options.device])
    with ExitStack() as stack:
        beds: dict[str, Bed] = {}
        for quantisation in quantisations:
            say(f"building {engine.shape.name}, quantisation {quantisation}")
            own = folder / str(quantisation)
            bed = make_bed(replace(engine, quantisation=quantisation), own)
            stack.enter_context(closing(bed.driver))
            beds[bed.facts.precision] = bed
        cases = [
            Case("1 base row", (None,)),
            base_case(engine.batch),
            mixed_case(engine.batch, engine.num_adapters),
        ]
        entries = [Entry(who, case) for case in cases for who in beds]
        heat = Heat(entries, 1 if options.small else 3)
        return heat, hold_heat(heat, {who: bed.time for who, bed in beds.items()}, say)


def _perplexity_cells(found: Mapping[str, Perplexities]) -> list[Cell]:
    return [
        Cell(f"{precision} {name}", "perplexity", "", [value])
        for precision, perplexities in found.items()
        for name, value in perplexities.items()
    ]


def _speed_cells(heat: Heat, held: Held) -> list[Cell]:
    return [
        Cell(entry.name, figure, UNITS[figure], held[entry.name].samples(figure))
        for entry in heat.entries
        for figure in FIGURES
    ]


def _ratios(heat: Heat, held: Held, *, plain: str) -> list[Ratio]:
    """The quantised base's tokens per second over the plain one's, round by round."""
    return [
        Ratio(entry.name, base, "rate", held[entry.name].ratios_to(held[base], "rate"))
        for entry in heat.entries
        if entry.who != plain
        for base in [Entry(plain, entry.case).name]
    ]
