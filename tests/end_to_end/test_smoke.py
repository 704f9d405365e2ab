"""The main path once: publish an adapter, name it, stream from it."""

from pathlib import Path

from tests.running import Server
from tests.tiny import save_tiny_adapter
from weft.client import Client, Sampling, Stopping


def test_smoke(server: Server, tiny_llama: Path, tmp_path: Path) -> None:
    folder = save_tiny_adapter(tiny_llama, tmp_path / "a")
    with Client(server.address) as weft:
        version = weft.publish("smoke", folder, assert_base=True)
        answers = {
            model: weft.complete(
                model,
                text="the quick",
                sampling=Sampling(temperature=0),
                stopping=Stopping(max_tokens=8),
            )
            for model in ("base", "smoke")
        }
    assert answers["base"].text != answers["smoke"].text
    assert answers["smoke"].resolved.digest == version.digest
