"""The packed serving image: what is read from disk and copied into the arena as it is.

`magic · header length · header (JSON) · a_at int64 [J] · b_at int64 [J] · rank int32 [J] · padding
· data`, little-endian; the data begins at a multiple of 128 bytes. Scaling is folded into B. An
image is derived from the uploaded files and can be rebuilt at any time.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .digest import canonical_json, tensor_bytes
from .errors import BaseNotServed, ContentCorrupt
from .fields import is_integer, parse_object
from .layout import ALIGN_BYTES, Placement, place_slices, serving_dtype
from .sites import BaseFacts
from .weights import CheckedAdapter

MAGIC = b"weft-img"
PREFIX_BYTES = len(MAGIC) + 8
MAX_HEADER_BYTES = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """An image on the local disk.

    Attributes:
        digest: The adapter's.
        data: Flat [num_elements] in the serving dtype, mapped from the file: read when touched.
        a_at: int64 [J], in elements from the start of `data`.
        b_at: int64 [J], in elements from the start of `data`.
        rank: int32 [J]; 0 = absent.
    """

    digest: str
    layout_id: str
    data: Tensor
    a_at: NDArray[np.int64]
    b_at: NDArray[np.int64]
    rank: NDArray[np.int32]

    @property
    def num_elements(self) -> int:
        return self.data.numel()


class _Header(NamedTuple):
    digest: str
    layout_id: str
    num_elements: int
    num_bytes: int


def write_image(adapter: CheckedAdapter, facts: BaseFacts, path: Path) -> None:
    """Pack a checked adapter; equal adapters give equal bytes."""
    dtype = serving_dtype(facts)
    placement = place_slices(facts, {module.name: module.rank for module in adapter.modules})
    columns = {name: j for j, name in enumerate(facts.members)}
    with path.open("wb") as file:
        file.write(_pack_header(adapter.digest, facts, placement))
        file.write(_pack_table(placement))
        data_at = _align(file.tell())
        for module in adapter.modules:
            j = columns[module.name]
            matrices = zip((placement.a_at[j], placement.b_at[j]), module.serve(dtype), strict=True)
            for at, matrix in matrices:
                file.seek(data_at + int(at) * dtype.itemsize)
                file.write(tensor_bytes(matrix))
        file.truncate(data_at + placement.num_elements * dtype.itemsize)


def read_image(path: Path, facts: BaseFacts) -> Image:
    """Map an image.

    Raises:
        BaseNotServed: It was packed for another layout: another base, dtype or format.
        ContentCorrupt: It is not an image, or not a whole one.
        FileNotFoundError: It is not there, or has gone meanwhile.
    """
    header = _read_header(path)
    if header.layout_id != facts.layout_id:
        raise BaseNotServed(f"image of layout {header.layout_id}; expected {facts.layout_id}")
    dtype = serving_dtype(facts)
    table_at = PREFIX_BYTES + header.num_bytes
    data_at = _align(table_at + _table_bytes(facts))
    size = data_at + header.num_elements * dtype.itemsize
    if path.stat().st_size != size:
        raise ContentCorrupt(f"image of {path.stat().st_size} bytes; expected {size}")
    file = _map(path, size)
    a_at, b_at, rank = _unpack_table(file[table_at:], facts)
    image = Image(header.digest, header.layout_id, file[data_at:].view(dtype), a_at, b_at, rank)
    _check_table(image, facts)
    return image


def _map(path: Path, size: int) -> Tensor:
    try:
        return torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
    except RuntimeError as err:
        if path.exists():
            raise
        raise FileNotFoundError(f"{path} has gone") from err


def _align(at: int) -> int:
    return -(-at // ALIGN_BYTES) * ALIGN_BYTES


def _pack_header(digest: str, facts: BaseFacts, placement: Placement) -> bytes:
    header = canonical_json(
        {"digest": digest, "layout": facts.layout_id, "num_elements": placement.num_elements}
    )
    return MAGIC + len(header).to_bytes(8, "little") + header


def _read_header(path: Path) -> _Header:
    with path.open("rb") as file:
        prefix = file.read(PREFIX_BYTES)
        length = int.from_bytes(prefix[len(MAGIC) :], "little")
        if not prefix.startswith(MAGIC) or length > MAX_HEADER_BYTES:
            raise ContentCorrupt("the file is no image")
        data = file.read(length)
    try:
        header = parse_object(data)
    except ValueError as err:
        raise ContentCorrupt(f"header of the image: {err}") from err
    digest, layout, size = (header.get(key) for key in ("digest", "layout", "num_elements"))
    if isinstance(digest, str) and isinstance(layout, str) and is_integer(size) and size >= 0:
        return _Header(digest, layout, size, length)
    raise ContentCorrupt("header of the image: a field is missing or wrong")


def _pack_table(placement: Placement) -> bytes:
    columns = (placement.a_at.astype("<i8"), placement.b_at.astype("<i8"))
    return b"".join(column.tobytes() for column in (*columns, placement.rank.astype("<i4")))


def _table_bytes(facts: BaseFacts) -> int:
    return facts.num_slices * (8 + 8 + 4)


def _unpack_table(
    table: Tensor, facts: BaseFacts
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    data = bytes(tensor_bytes(table[: _table_bytes(facts)]))
    num = facts.num_slices
    a_at = np.frombuffer(data, "<i8", num).astype(np.int64)
    b_at = np.frombuffer(data, "<i8", num, offset=8 * num).astype(np.int64)
    return a_at, b_at, np.frombuffer(data, "<i4", num, offset=16 * num).astype(np.int32)


def _check_table(image: Image, facts: BaseFacts) -> None:
    """Compare the table with the only one that its ranks allow."""
    ranks = {name: int(r) for name, r in zip(facts.members, image.rank, strict=True) if r > 0}
    placement = place_slices(facts, ranks)
    same = (
        np.array_equal(image.a_at, placement.a_at)
        and np.array_equal(image.b_at, placement.b_at)
        and np.array_equal(image.rank, placement.rank)
        and image.num_elements == placement.num_elements
    )
    if not same:
        raise ContentCorrupt("the image's table does not fit its data")
