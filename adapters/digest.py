"""Content digests: the one identity of a file, of an adapter and of a base model.

Canonical JSON is UTF-8 with sorted keys and no white space. It holds no floats: a real number is
the C99 hexadecimal text of its float64, so equal values always have equal bytes.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

ADAPTER_FORMAT = "weft-adapter/1"
BASE_FORMAT = "weft-base/1"
CHUNK_BYTES = 1 << 20
DTYPE_NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
INERT_BASE_KEYS = frozenset({"_name_or_path", "transformers_version"})

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class TensorDigest(NamedTuple):
    """What identifies a tensor: safetensors' name of its dtype, its shape, and its bytes."""

    dtype: str
    shape: tuple[int, ...]
    sha256: str


class ModuleDigest(NamedTuple):
    """What identifies one adapted module; `scaling` is alpha / r or alpha / sqrt(r)."""

    name: str
    rank: int
    scaling: float
    a: TensorDigest
    b: TensorDigest


def is_digest(text: str) -> bool:
    """Say whether `text` is `sha256:` and 64 lower-case hexadecimal digits; no short form is."""
    return _DIGEST.fullmatch(text) is not None


def canonical_json(value: Json) -> bytes:
    """Encode `value` so that equal values have equal bytes.

    Raises:
        ValueError: A number is not finite, or a string is not valid Unicode.
    """
    return json.dumps(
        _without_floats(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False
    ).encode()


def digest_bytes(data: bytes | memoryview) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def digest_file(path: Path) -> str:
    """Digest a file's bytes in chunks of 1 MiB."""
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            sha256.update(chunk)
    return f"sha256:{sha256.hexdigest()}"


def digest_tensor(tensor: Tensor) -> TensorDigest:
    """Digest a tensor on the CPU over its row-major little-endian bytes.

    Raises:
        ValueError: The dtype is not float32, float16 or bfloat16.
    """
    if tensor.dtype not in DTYPE_NAMES:
        raise ValueError(f"dtype {tensor.dtype}; expected float32, float16 or bfloat16")
    sha256 = digest_bytes(tensor_bytes(tensor))
    return TensorDigest(DTYPE_NAMES[tensor.dtype], tuple(tensor.shape), sha256)


def tensor_bytes(tensor: Tensor) -> memoryview:
    """View a CPU tensor as row-major bytes, without a copy where it is contiguous."""
    flat = tensor.detach().contiguous().view(-1).view(torch.uint8)
    return flat.numpy().data


def adapter_digest(base: str, modules: Iterable[ModuleDigest]) -> str:
    """Digest what an adapter computes: its base, and rank, scaling, A and B of every module."""
    table: list[Json] = [list(module) for module in sorted(modules)]
    content: Json = {"base": base, "format": ADAPTER_FORMAT, "modules": table}
    return digest_bytes(canonical_json(content))


def base_digest(config: Mapping[str, Json], tensors: Mapping[str, TensorDigest]) -> str:
    """Digest a stored checkpoint: the config that changes the mathematics, and every tensor."""
    kept: dict[str, Json] = {k: v for k, v in config.items() if k not in INERT_BASE_KEYS}
    architectures = kept.get("architectures")
    if isinstance(architectures, list | tuple):
        kept["architectures"] = sorted(str(name) for name in architectures)
    table: list[Json] = [[name, *tensors[name]] for name in sorted(tensors)]
    return digest_bytes(canonical_json({"format": BASE_FORMAT, "config": kept, "tensors": table}))


def _without_floats(value: Json) -> Json:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} has no canonical form; expected a finite number")
        return value.hex()
    if isinstance(value, Mapping):
        return {key: _without_floats(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_floats(item) for item in value]
    return value
