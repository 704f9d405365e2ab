"""`weft bench soak`."""

import click

from .recording import Recording, recorded, say


@click.command("soak")
@click.option("--minutes", type=click.FloatRange(0), default=30, show_default=True, help="Churn.")
@click.option(
    "--round-s", type=click.FloatRange(0.5), default=15, show_default=True, help="Rounds."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of weights and requests.")
@recorded
def soak(
    minutes: float,
    round_s: float,
    seed: int,
    recording: Recording,
) -> None:
    """Publish, use, retire, cancel and let deadlines pass on a tiny model, in rounds.

    Between two rounds the server rests: nothing may be in use, no process may have restarted,
    files and memory may not grow, and no token may differ from a single request's.
    """
    from weft.bench.soak.suite import SoakOptions, run_soak

    options = SoakOptions(60 * minutes, round_s, seed)
    recording.keep(
        lambda invocation, folder: run_soak(options, folder, invocation=invocation, say=say)
    )
