"""What the server says of itself is enough to write a client."""

import json
import subprocess
import sys
from pathlib import Path

from tests.tiny import save_tiny_adapter

from . import plain_client
from .adapters import Family


def test_a_client_made_from_reflection_lists_uploads_and_streams(
    llama: Family, tmp_path: Path
) -> None:
    folder = save_tiny_adapter(llama.base, tmp_path / "a", seed=401)
    command = [sys.executable, plain_client.__file__, llama.server.address, "plainly", str(folder)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    seen = json.loads(run.stdout)

    assert {"weft.v1.InferenceService", "weft.v1.AdapterService", "grpc.health.v1.Health"} <= set(
        seen["services"]
    )
    assert "adapters/r4-qv" in seen["before"]
    assert set(seen["after"]) - set(seen["before"]) == {"adapters/plainly"}
    digest = seen["published"]["result"]["version"]["digest"]
    resolved, *chunks, finished, usage = seen["adapted"]
    assert resolved["resolved"]["digest"] == digest
    assert finished["finished"]["reason"] == "FINISH_REASON_LENGTH"
    assert usage["usage"]["generated_tokens"] == 8
    assert text(chunks) != text(seen["base"][1:-2])


def text(chunks: list[dict[str, dict[str, object]]]) -> str:
    return "".join(str(chunk["chunk"].get("text", "")) for chunk in chunks)
