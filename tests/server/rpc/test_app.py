"""The front as it is put together."""

import json
from importlib.util import find_spec
from pathlib import Path

from transformers import GenerationConfig

from weft.client.transport import CHANNEL_OPTIONS
from weft.server.rpc.app import ALL_SERVICES, INFERENCE, OPTIONS, REGISTRY, read_defaults


def test_each_service_has_its_health() -> None:
    assert INFERENCE == "weft.v1.InferenceService"
    assert REGISTRY == ["weft.v1.AdapterService", "weft.v1.JobService"]
    assert len(ALL_SERVICES) == 4


def test_every_option_is_one_that_grpc_knows() -> None:
    """It passes over what it does not know, so that a misspelt one does nothing."""
    spec = find_spec("grpc._cython.cygrpc")
    assert spec is not None
    assert spec.origin is not None
    library = Path(spec.origin).read_bytes()
    names = {name for name, _ in (*OPTIONS, *CHANNEL_OPTIONS)}
    assert {name for name in names if name.encode() + b"\0" not in library} == set()


def test_defaults_are_read_from_the_generation_config_if_there_is_one(tmp_path: Path) -> None:
    GenerationConfig(do_sample=True, temperature=0.5, eos_token_id=3).save_pretrained(tmp_path)
    defaults = read_defaults(tmp_path)
    assert (defaults.temperature, defaults.end_tokens) == (0.5, frozenset({3}))


def test_defaults_come_from_the_model_config_otherwise(tiny_llama: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((tiny_llama / "config.json").read_text())
    end = json.loads((tiny_llama / "config.json").read_text())["eos_token_id"]
    assert read_defaults(tmp_path).end_tokens == {end}
