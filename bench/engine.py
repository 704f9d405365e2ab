"""The suite `engine`: base and mixed batches of any shape, on any device."""

from .cases import WEFT, Entry, Heat, base_case, mixed_case
from .figures import UNITS
from .options import EngineOptions
from .suite import Suite


def engine_suite(options: EngineOptions, num_rounds: int) -> Suite:
    """Everybody's base and mixed batch; row i uses adapter i modulo their number."""
    base, mixed = base_case(options.batch), mixed_case(options.batch, options.num_adapters)
    entries = [Entry(WEFT, base), Entry(WEFT, mixed)]
    for peer in options.peers:
        entries += [Entry(peer, mixed), Entry(peer, base)]
    return Suite(
        name=f"engine-{options.shape.name}",
        options=options,
        heats=[Heat(entries, num_rounds)],
        figures=tuple(UNITS),
        judge=lambda _: [],
    )
