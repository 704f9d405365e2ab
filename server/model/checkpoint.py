"""A stored checkpoint: where it is, and the digests of its tensors, tokenizer and template."""

import hashlib
import json
import mmap
import os
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from weft.adapters.digest import (
    Json,
    TensorDigest,
    base_digest,
    canonical_json,
    digest_bytes,
    digest_file,
)
from weft.server.errors import ModelRefused

TOKENIZER_FILES = (
    "added_tokens.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)
FETCHED_FILES = ["*.json", "*.jinja", "*.model", "*.txt", "*.safetensors"]


class _Stamp(NamedTuple):
    """What says that a file is the one that was hashed."""

    size: int
    mtime_ns: int
    inode: int


def resolve_model(model: str) -> Path:
    """Find the folder of a model: a directory, or else a hub id, which is fetched.

    Raises:
        ModelRefused: There is neither.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder.resolve()
    try:
        return Path(snapshot_download(model, allow_patterns=FETCHED_FILES))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError) as err:
        raise ModelRefused(
            f"{model} is neither a directory nor a model that the hub gives: {err}"
        ) from err


def digest_checkpoint(folder: Path, *, hash_cache: Path | None) -> str:
    """Digest config and tensors, whatever the files that the tensors are spread over.

    Args:
        hash_cache: A JSON file in which the digests of unchanged files are kept.

    Raises:
        ModelRefused: The folder holds no safetensors.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelRefused(f"{folder} holds no *.safetensors; other formats are not read")
    known = _read_cache(hash_cache)
    tensors: dict[str, TensorDigest] = {}
    for file in files:
        key, stamp = str(file.resolve()), _stamp(file)
        entry = known.get(key)
        if entry is None or entry[0] != stamp:
            known[key] = entry = (stamp, hash_tensors(file))
        tensors |= entry[1]
    _write_cache(hash_cache, known)
    config: dict[str, Json] = json.loads((folder / "config.json").read_text())
    return base_digest(config, tensors)


def digest_tokenizer(folder: Path) -> str:
    """Digest the tokenizer's files; empty without one."""
    found = {name: folder / name for name in TOKENIZER_FILES if (folder / name).is_file()}
    if not found:
        return ""
    return digest_bytes(canonical_json({name: digest_file(path) for name, path in found.items()}))


def digest_template(folder: Path) -> str:
    """Digest the chat template's text; empty without one."""
    jinja = folder / "chat_template.jinja"
    if jinja.is_file():
        return digest_file(jinja)
    settings = folder / "tokenizer_config.json"
    template = json.loads(settings.read_text()).get("chat_template") if settings.is_file() else None
    if template is None:
        return ""
    return digest_bytes(
        template.encode() if isinstance(template, str) else canonical_json(template)
    )


def hash_tensors(file: Path) -> dict[str, TensorDigest]:
    """Digest every tensor of a safetensors file over its stored bytes."""
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        header_bytes = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + header_bytes])
        header.pop("__metadata__", None)
        with memoryview(data) as view:
            return {
                name: TensorDigest(
                    entry["dtype"],
                    tuple(entry["shape"]),
                    _hash_range(view, 8 + header_bytes, *entry["data_offsets"]),
                )
                for name, entry in header.items()
            }


def _hash_range(view: memoryview, base: int, start: int, stop: int) -> str:
    with view[base + start : base + stop] as part:
        return f"sha256:{hashlib.sha256(part).hexdigest()}"


def _stamp(file: Path) -> _Stamp:
    stat = file.stat()
    return _Stamp(stat.st_size, stat.st_mtime_ns, stat.st_ino)


def _read_cache(path: Path | None) -> dict[str, tuple[_Stamp, dict[str, TensorDigest]]]:
    if path is None or not path.is_file():
        return {}
    return {
        file: (
            _Stamp(*stamp),
            {name: TensorDigest(dtype, tuple(shape), sha) for name, dtype, shape, sha in tensors},
        )
        for file, (stamp, tensors) in json.loads(path.read_text()).items()
    }


def _write_cache(
    path: Path | None, known: dict[str, tuple[_Stamp, dict[str, TensorDigest]]]
) -> None:
    if path is None:
        return
    content = {
        file: (stamp, [(name, *digest) for name, digest in tensors.items()])
        for file, (stamp, tensors) in known.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps(content))
    partial.replace(path)
