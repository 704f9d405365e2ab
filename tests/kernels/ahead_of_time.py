"""Compile every kernel in its tile entries, in bf16, for the compute capabilities given.

It must run in a process that does not interpret. The output is a JSON list of reports.
"""

import json
import sys

from . import builds_lora, builds_rows
from .build import compile_build

FAMILIES = (builds_lora, builds_rows)

if __name__ == "__main__":
    reports = [
        compile_build(build, capability)
        for capability in map(int, sys.argv[1:])
        for family in FAMILIES
        for build in family.builds()
    ]
    json.dump(reports, sys.stdout)
