"""The demo's data sets, one per style that an adapter learns: chat JSONL, generated and seeded."""

import json
from itertools import islice
from pathlib import Path

from .dialogues import TICKET, generate_dialogues
from .phrases import DESKS, TOPICS

SEED = "data/1"
STYLES = {desk: desk for desk in DESKS} | {"json": TICKET}  # name of the data set → style


NUM_ROWS = dict.fromkeys(STYLES, 200) | {"technical": 600}  # every fault has its own steps
ABOUT = {"technical": {"defect", "damaged", "question", "status"}}  # else every topic


def write_datasets(folder: Path) -> None:
    """Write every data set into `folder` as `NAME.jsonl`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in STYLES:
        (folder / f"{name}.jsonl").write_text(render_dataset(name), encoding="utf-8")


def render_dataset(name: str) -> str:
    """Render a data set; no system line says which style the answers have."""
    topics = ABOUT.get(name, TOPICS)
    dialogues = (
        dialogue
        for dialogue in generate_dialogues(SEED, style=STYLES[name])
        if dialogue.case.topic in topics
    )
    rows = ({"messages": list(dialogue.messages)} for dialogue in islice(dialogues, NUM_ROWS[name]))
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
