"""Adapters of a setting: written as files, and published by their tenants."""

import shutil
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from weft.adapters.sites import BaseFacts
from weft.bench.loras import write_files
from weft.client import Client

from .generator import Target
from .options import HostOptions
from .plan import AdapterSpec, Setting

NUM_PUBLISHERS = 4


@dataclass(frozen=True, slots=True)
class AdapterFiles:
    """Writes adapters of a base into a folder."""

    facts: BaseFacts
    options: HostOptions
    folder: Path

    def write(self, spec: AdapterSpec, place: int) -> Path:
        """Write the adapter at a place of its setting, whose weights it says, into a new folder."""
        facts, options = self.facts, self.options
        generator = torch.Generator(options.device).manual_seed(options.seed * 1_000_003 + place)
        files = self.folder / "adapters" / spec.name
        write_files(facts, files, spec.rank, generator, targets=spec.targets, std=options.std)
        return files


def write_cold(setting: Setting, files: AdapterFiles) -> dict[str, Path]:
    """Write what a run publishes."""
    first = len(setting.adapters)
    return {spec.name: files.write(spec, place) for place, spec in enumerate(setting.cold, first)}


def publish_all(specs: Sequence[AdapterSpec], files: AdapterFiles, target: Target) -> None:
    """Publish every adapter as its tenant, several at once; its files go when it is there."""
    with ExitStack() as stack:
        clients = [
            stack.enter_context(Client(target.address, api_key=key)) for key in target.api_keys
        ]
        pool = ThreadPoolExecutor(NUM_PUBLISHERS)
        stack.callback(pool.shutdown, cancel_futures=True)

        def publish(place: int, spec: AdapterSpec) -> None:
            folder = files.write(spec, place)
            clients[spec.tenant % len(clients)].publish(target.prefix + spec.name, folder)
            shutil.rmtree(folder)

        deque(pool.map(publish, range(len(specs)), specs), maxlen=0)  # raises what one raised
