"""A checkpoint's digest is that of its content: not of its files, their names or their order."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.tiny import save_tiny_model
from weft.adapters.digest import digest_tensor
from weft.server.errors import ModelRefused
from weft.server.model.checkpoint import (
    digest_checkpoint,
    digest_template,
    digest_tokenizer,
    hash_tensors,
    resolve_model,
)


def test_digest_does_not_depend_on_sharding(tiny_llama: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_llama)
    model.save_pretrained(tmp_path, max_shard_size="100KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert digest_checkpoint(tmp_path, hash_cache=None) == digest_checkpoint(
        tiny_llama, hash_cache=None
    )


def test_stored_bytes_are_hashed_as_their_tensors_are(tiny_llama: Path) -> None:
    file = tiny_llama / "model.safetensors"
    assert hash_tensors(file) == {
        name: digest_tensor(tensor) for name, tensor in load_file(file).items()
    }


def test_config_that_changes_the_mathematics_changes_the_digest(tmp_path: Path) -> None:
    folder = save_tiny_model("llama", tmp_path)
    before = digest_checkpoint(folder, hash_cache=None)
    config = json.loads((folder / "config.json").read_text())
    config["transformers_version"] = "0.0.0"
    (folder / "config.json").write_text(json.dumps(config))
    assert digest_checkpoint(folder, hash_cache=None) == before
    config["rms_norm_eps"] = 0.5
    (folder / "config.json").write_text(json.dumps(config))
    assert digest_checkpoint(folder, hash_cache=None) != before


def test_unchanged_file_is_not_hashed_again(tmp_path: Path) -> None:
    folder, cache = save_tiny_model("llama", tmp_path / "base"), tmp_path / "data" / "hashes.json"
    digest = digest_checkpoint(folder, hash_cache=cache)
    assert digest_checkpoint(folder, hash_cache=cache) == digest
    content = json.loads(cache.read_text())
    [(file, (stamp, tensors))] = content.items()
    tensors[0][-1] = f"sha256:{'0' * 64}"  # what is read back decides: it was not hashed again
    cache.write_text(json.dumps({file: (stamp, tensors)}))
    assert digest_checkpoint(folder, hash_cache=cache) != digest


def test_changed_file_is_hashed_again(tmp_path: Path) -> None:
    folder, cache = tmp_path / "base", tmp_path / "hashes.json"
    save_tiny_model("llama", folder, seed=1)
    before = digest_checkpoint(folder, hash_cache=cache)
    save_tiny_model("llama", folder, seed=2)
    after = digest_checkpoint(folder, hash_cache=cache)
    assert after != before
    assert after == digest_checkpoint(folder, hash_cache=None)


def test_other_formats_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(ModelRefused, match=r"holds no \*\.safetensors"):
        digest_checkpoint(tmp_path, hash_cache=None)


def test_template_is_the_same_in_either_place(tiny_llama: Path, tmp_path: Path) -> None:
    text = AutoTokenizer.from_pretrained(tiny_llama).chat_template
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": text}))
    assert digest_template(tmp_path) == digest_template(tiny_llama)
    (tmp_path / "chat_template.jinja").write_text("another")
    assert digest_template(tmp_path) != digest_template(tiny_llama)


def test_folder_without_tokenizer_has_empty_digests(tmp_path: Path) -> None:
    assert digest_tokenizer(tmp_path) == ""
    assert digest_template(tmp_path) == ""


def test_directory_is_its_own_model(tiny_llama: Path) -> None:
    assert resolve_model(str(tiny_llama)) == tiny_llama.resolve()


@pytest.mark.parametrize("model", ["no/such/folder/here", "weft-tests/absent"])
def test_neither_directory_nor_known_to_the_hub_is_refused(model: str) -> None:
    with pytest.raises(ModelRefused, match=model):
        resolve_model(model)
