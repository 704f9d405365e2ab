"""`weft demo`: the whole main job with the committed base, adapters and data sets."""

import os
import subprocess

import pytest

from weft.server.child import WEFT

FIGURES = (
    "base only",
    "mixed",
    "mixed / base only",
    "adapter load, mean",
    "from publish to first token",
)


@pytest.mark.xdist_group("servers")
@pytest.mark.timeout(240)
def test_demo_holds_every_step_and_ends_with_its_figures() -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}  # two would wait for the other worker's
    ran = subprocess.run(
        [WEFT, "demo"], capture_output=True, text=True, timeout=230, check=False, env=environment
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    *story, figures = ran.stdout.partition("6. Figures of this run")
    assert [name for name in FIGURES if name not in figures] == []
    assert "48213" in "".join(story)
