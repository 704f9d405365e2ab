"""`weft bench quantise`."""

from pathlib import Path

import click

from .case_options import DTYPES
from .recording import Recording, recorded, say

SHOP = Path(__file__).parents[2] / "demo"


@click.command("quantise")
@click.option("--small", is_flag=True, help="Time a tiny shape, in one round.")
@click.option(
    "--device", type=click.Choice(["cpu", "cuda"]), help="Of what is timed. [cuda if any]"
)
@click.option("--dtype", type=click.Choice(DTYPES), help="[bfloat16 where it is fast]")
@click.option(
    "--shop",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=SHOP,
    help="Folder of a base, adapters and their data.  [the demo's]",
)
@click.option("--threads", type=click.IntRange(1), help="Of torch. [2; small: 1]")
@click.option("--seed", type=int, default=0, show_default=True, help="Of weights and prompts.")
@recorded
def quantise(
    small: bool,
    device: str | None,
    dtype: str | None,
    shop: Path,
    threads: int | None,
    seed: int,
    recording: Recording,
) -> None:
    """Find the perplexity of a base, plain and quantised, alone and with its adapters, on rows that
    nobody was trained on; and time a plain and a quantised base in turn, with random weights.
    """
    from weft.bench.quantise import QuantiseOptions, run_quantise
    from weft.server.config import default_device, default_dtype

    device = device or default_device()
    options = QuantiseOptions(
        small=small,
        device=device,
        dtype=dtype or default_dtype(device),
        threads=threads or (1 if small else 2),
        seed=seed,
        shop=shop,
    )
    recording.keep(
        lambda invocation, folder: run_quantise(options, folder, invocation=invocation, say=say)
    )
