"""Where the demo's files lie."""

from pathlib import Path

HERE = Path(__file__).parent
BASE = HERE / "base"
DATA = HERE / "data"
ADAPTERS = HERE / "adapters"
