"""safetensors files from outside: the header checked whole, the tensors mapped, nothing executed.

A file is 8 bytes of header length, a JSON header (name → dtype, shape, data_offsets) and the
tensors' bytes, which must follow one another without gap or overlap to the file's end.
"""

import json
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from .digest import DTYPE_NAMES, Json
from .errors import Refused, Violation
from .fields import is_integer, parse_object, printable, shorten

WEIGHTS_FILE = "adapter_model.safetensors"
MAX_HEADER_BYTES = 16 << 20
LENGTH_BYTES = 8
METADATA = "__metadata__"
DTYPES = {name: dtype for dtype, name in DTYPE_NAMES.items()}
PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


class Entry(NamedTuple):
    """One tensor of a file; its bytes are [begin, end) of the data."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class TensorFile:
    """A file whose header holds; tensors of dtypes that are not served can be listed, not read."""

    path: Path
    data_at: int
    num_bytes: int
    entries: Mapping[str, Entry]
    metadata: Mapping[str, str]

    def read(self) -> dict[str, Tensor]:
        """Map every F32, F16 and BF16 tensor; a page is read when it is first touched."""
        data = torch.from_file(
            str(self.path), shared=False, size=self.num_bytes, dtype=torch.uint8
        )[self.data_at :]
        return {
            name: _view(data[entry.begin : entry.end], entry)
            for name, entry in self.entries.items()
            if entry.dtype in DTYPES
        }


def open_tensors(path: Path, *, max_bytes: int) -> TensorFile:
    """Read and check the header of a safetensors file.

    Raises:
        Refused: The file is missing, larger than `max_bytes`, or not safetensors.
    """
    if not path.is_file():
        raise _refused("FILE_SET", _missing(path), WEIGHTS_FILE)
    num_bytes = path.stat().st_size
    if num_bytes > max_bytes:
        raise _refused("FILE_TOO_LARGE", f"{num_bytes} bytes", f"at most {max_bytes} bytes")
    header = _read_header(path, num_bytes)
    try:
        fields = parse_object(header)
        metadata = _read_metadata(fields.pop(METADATA, {}))
        entries = {name: _read_entry(name, value) for name, value in fields.items()}
        data_at = LENGTH_BYTES + len(header)
        _check_offsets(entries, num_bytes - data_at)
    except ValueError as err:
        raise _refused("FILE_FORMAT", f"header: {err}", "a safetensors file") from err
    return TensorFile(path, data_at, num_bytes, entries, metadata)


def write_metadata(path: Path, metadata: Mapping[str, str]) -> None:
    """Add `metadata` to the header of a safetensors file; the tensors' bytes stay as they are.

    Raises:
        Refused: The file is not safetensors.
    """
    file = open_tensors(path, max_bytes=path.stat().st_size)
    header: dict[str, object] = {METADATA: {**file.metadata, **metadata}}
    for name, entry in file.entries.items():
        offsets = [entry.begin, entry.end]
        header[name] = {"dtype": entry.dtype, "shape": entry.shape, "data_offsets": offsets}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % LENGTH_BYTES)
    fresh = path.with_name(f"{path.name}.new")
    with path.open("rb") as source, fresh.open("wb") as target:
        target.write(len(text).to_bytes(LENGTH_BYTES, "little") + text)
        source.seek(file.data_at)
        shutil.copyfileobj(source, target)
    os.replace(fresh, path)


def _refused(code: str, found: str, expected: str) -> Refused:
    return Refused((Violation(code, WEIGHTS_FILE, found, expected),))


def _missing(path: Path) -> str:
    pickled = path.with_name("adapter_model.bin").exists()
    return "adapter_model.bin, a pickle file" if pickled else "missing"


def _read_header(path: Path, num_bytes: int) -> bytes:
    with path.open("rb") as file:
        start = file.read(LENGTH_BYTES)
        length = int.from_bytes(start, "little")
        fits = len(start) == LENGTH_BYTES and length <= num_bytes - LENGTH_BYTES
        header = file.read(length) if fits and length <= MAX_HEADER_BYTES else b""
    if not header.startswith(b"{"):
        found = f"a header of {length} bytes in a file of {num_bytes} bytes"
        pickled = start.startswith(PICKLE_STARTS)
        limit = f"safetensors with a JSON header of at most {MAX_HEADER_BYTES} bytes"
        raise _refused("FILE_FORMAT", "a pickle file" if pickled else found, limit)
    return header


def _read_metadata(value: Json) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError("its metadata is no object")
    metadata = {key: text for key, text in value.items() if isinstance(text, str)}
    if len(metadata) < len(value):
        raise ValueError("its metadata has values that are no strings")
    return metadata


def _read_entry(name: str, value: Json) -> Entry:
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor {printable(name)} has not exactly dtype, shape and data_offsets")
    dtype = value["dtype"]
    shape = _read_sizes(value["shape"])
    offsets = _read_sizes(value["data_offsets"])
    if not isinstance(dtype, str) or shape is None or offsets is None or len(offsets) != 2:
        raise ValueError(f"tensor {printable(name)} has a dtype, shape or offset of a wrong type")
    return Entry(dtype, shape, *offsets)


def _read_sizes(value: Json) -> tuple[int, ...] | None:
    if not isinstance(value, list):
        return None
    sizes = tuple(size for size in value if is_integer(size) and size >= 0)
    return sizes if len(sizes) == len(value) else None


def _check_offsets(entries: Mapping[str, Entry], data_bytes: int) -> None:
    """Check that the tensors lie one after another, each of its own size, to the data's end."""
    at = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != at or entry.end < at:
            kind = "a gap" if entry.begin > at else "an overlap"
            raise ValueError(f"{kind} before tensor {printable(name)} at byte {entry.begin}")
        if entry.dtype in DTYPES and entry.end - at != _size_bytes(entry):
            size = f"{entry.end - at} bytes for {entry.dtype} {shorten(entry.shape)}"
            raise ValueError(f"tensor {printable(name)} has {size}")
        at = entry.end
    if at != data_bytes:
        raise ValueError(f"{data_bytes} bytes of data; the tensors have {at}")


def _size_bytes(entry: Entry) -> int:
    return math.prod(entry.shape) * DTYPES[entry.dtype].itemsize


def _view(data: Tensor, entry: Entry) -> Tensor:
    dtype = DTYPES[entry.dtype]
    aligned = data if data.storage_offset() % dtype.itemsize == 0 else data.clone()
    return aligned.view(dtype).view(entry.shape)
