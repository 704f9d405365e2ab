"""A tiny base with an adapter and its data, laid out as the demo's."""

import json
from pathlib import Path

from tests.tiny import TEXT, save_tiny_adapter, save_tiny_model
from weft.bench.perplexity import Shop

NUM_ROWS = 8
JOB = "lora: {rank: 4}\noptimisation: {seed: 3}\nlimits: {eval_fraction: 0.5}\n"
WORDS = TEXT.split()


def save_shop(folder: Path) -> Shop:
    """Half of the adapter's rows are held out."""
    base = save_tiny_model("llama", folder / "base")
    save_tiny_adapter(base, folder / "adapters" / "own")
    (folder / "adapters" / "own" / "job.yaml").write_text(JOB)
    (folder / "data").mkdir()
    rows = [
        {"prompt": f"{WORDS[i]} {i}", "completion": " ".join(WORDS[i : i + 6])}
        for i in range(NUM_ROWS)
    ]
    (folder / "data" / "own.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return Shop(folder)
