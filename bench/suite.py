"""What the suites of batches share: an engine in this process, checked, then timed beside peers."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import torch

from .bed import Bed, digests_of, make_bed
from .cases import WEFT, Case, Heat
from .ceilings import measure_ceilings
from .contest import Contender, Timing, hold_rounds
from .figures import Held, make_cells, make_ratios
from .goals import Verdict
from .machine import find_hardware, find_versions
from .options import EngineOptions
from .peers.peer import Peer
from .record import Beginning, Gap, Invocation, Ratio, Record, Value
from .rivals import open_rivals
from .verify import check_engine, check_peer

Say: TypeAlias = Callable[[str], None]
Run: TypeAlias = Callable[[Case], Timing]


@dataclass(frozen=True, slots=True)
class Suite:
    """What runs on one base.

    Attributes:
        figures: What is recorded of every batch.
        judge: Takes the ratios of the run.
    """

    name: str
    options: EngineOptions
    heats: Sequence[Heat]
    figures: Sequence[str]
    judge: Callable[[Sequence[Ratio]], list[Verdict]]

    @property
    def num_together(self) -> int:
        """Adapters of the batch that uses most."""
        cases = [entry.case for heat in self.heats for entry in heat.entries]
        return max(len(set(case.places) - {None}) for case in cases)


def run_suite(suite: Suite, folder: Path, *, invocation: Invocation, say: Say) -> Record:
    """Run a suite; nothing is timed if the engine is wrong, and no peer that is.

    Args:
        folder: For models and adapters; empty, of its caller.
        say: Takes a line whenever a part begins.

    Raises:
        BenchError: The engine or a peer failed.
    """
    beginning = Beginning()
    options = suite.options
    device = torch.device(options.device)
    torch.set_num_threads(options.threads)
    say("measuring the ceilings")
    ceilings = measure_ceilings(device, getattr(torch, options.dtype))
    say(f"building {options.shape.name} and {options.num_adapters} adapters")
    bed = make_bed(options, folder)
    with ExitStack() as stack:
        stack.enter_context(closing(bed.driver))
        say(f"starting {', '.join(options.peers) or 'no peers'}")
        rivals = open_rivals(bed, folder, num_together=suite.num_together, stack=stack)
        say("checking results")
        baseline = check_engine(bed)
        found = {name: check_peer(name, peer, baseline) for name, peer in rivals.peers.items()}
        run_by: dict[str, Run] = {WEFT: bed.time}
        for name, peer in rivals.peers.items():
            if found[name].holds:
                run_by[name] = partial(_time_peer, bed, peer)
        held = [hold_heat(heat, run_by, say) for heat in suite.heats] if baseline.holds else []
    ratios = make_ratios(suite.heats, held, figures=suite.figures)
    wrong = [
        Gap(name, "", f"WRONG {check.text}") for name, check in found.items() if not check.holds
    ]
    ceilings = ceilings.best_of(measure_ceilings(device, bed.model.dtype))
    versions = find_versions()
    for peer in rivals.peers.values():
        versions |= peer.versions
    return Record(
        suite=suite.name,
        conditions=beginning.conditions(
            **invocation._asdict(),
            seed=options.seed,
            hardware=find_hardware(device),
            versions=versions,
            ceilings=ceilings,
        ),
        parameters=_parameters(bed),
        checks=[*baseline.checks, *found.values()],
        cells=make_cells(bed, suite.heats, held, ceilings, figures=suite.figures),
        ratios=ratios,
        loads=baseline.loads,
        verdicts=suite.judge(ratios),
        gaps=[*rivals.missing, *wrong],
    )


def hold_heat(heat: Heat, run_by: Mapping[str, Run], say: Say) -> Held:
    """Run the entries of everybody who may run, and say so."""
    contenders = [
        Contender(entry.name, partial(run_by[entry.who], entry.case))
        for entry in heat.entries
        if entry.who in run_by
    ]
    names = ", ".join(contender.name for contender in contenders)
    say(f"warming up, then {heat.num_rounds} rounds: {names}")
    return hold_rounds(contenders, heat.num_rounds)


def _time_peer(bed: Bed, peer: Peer, case: Case) -> Timing:
    options = bed.options
    prompts = bed.prompts(options.batch, options.prompt_tokens)
    digests = digests_of(bed.rows(case.places))
    return peer.time(prompts, digests, new_tokens=options.new_tokens)


def _parameters(bed: Bed) -> dict[str, Value]:
    options, limits = bed.options, bed.driver.engine.budgets.limits
    return {
        "shape": options.shape.name,
        "device": options.device,
        "dtype": options.dtype,
        "adapters": options.num_adapters,
        "ranks": ",".join(map(str, options.ranks)),
        "adapter_bytes": sum(lora.num_elements for lora in bed.loras) * bed.model.dtype.itemsize,
        "weight_bytes": bed.cost.weight_bytes,
        "batch": options.batch,
        "prompt_tokens": options.prompt_tokens,
        "new_tokens": options.new_tokens,
        "max_batch_tokens": limits.max_batch_tokens,
        "warm_up_runs": 1,
        **{f"swap_{swap.kind}": swap.made for swap in bed.model.swaps},
    }
