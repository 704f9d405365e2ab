"""Compile every kernel in its tile entries, in bf16, for the compute capabilities given.

It must run in a process that does not interpret. The output is JSON: the version of triton, and a
line per report, sorted by name and capability. For 80 90 100 it is what resources.json records.
"""

import json
import sys
from collections.abc import Iterator
from typing import TypedDict

import triton

from . import builds_attention, builds_lora, builds_outer, builds_rows
from .build import Build, Report, compile_build

FAMILIES = (builds_attention, builds_lora, builds_outer, builds_rows)


class Reports(TypedDict):
    triton: str
    reports: list[Report]


def all_builds(capability: int) -> Iterator[Build]:
    for family in FAMILIES:
        yield from (build for build in family.builds() if build.least <= capability)


def by_name(report: Report) -> tuple[str, int]:
    return report["name"], report["capability"]


def to_json(reports: list[Report], *, version: str) -> str:
    lines = ",\n".join(json.dumps(report) for report in sorted(reports, key=by_name))
    return f'{{"triton": "{version}", "reports": [\n{lines}\n]}}\n'


if __name__ == "__main__":
    capabilities = [int(argument) for argument in sys.argv[1:]]
    reports = [compile_build(build, at) for at in capabilities for build in all_builds(at)]
    sys.stdout.write(to_json(reports, version=triton.__version__))
