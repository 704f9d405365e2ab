"""`weft bench`: a suite per command. Only click is imported until a suite runs."""

import click

from .commands.cpu import cpu
from .commands.engine import engine
from .commands.kernels import kernels
from .commands.peers import peers
from .commands.quantise import quantise
from .commands.report import report
from .commands.serving import serving
from .commands.soak import soak


@click.group()
def bench() -> None:
    """Measure this machine's Weft against floors and others; see bench/results/."""


for command in (engine, serving, cpu, kernels, quantise, soak, peers, report):
    bench.add_command(command)
