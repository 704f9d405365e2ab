"""Files on their way to and from a server."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from weft.protos.v1.adapters_pb2 import BlobKey, Upload, WriteUploadRequest

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


class Progress(NamedTuple):
    """How far a step of a publication, or the transfer of a file, has come; in bytes for files."""

    what: str
    done: int
    total: int


OnProgress = Callable[[Progress], None]


def ignore(progress: Progress) -> None:
    """Show nothing."""


def adapter_paths(folder: Path | str) -> list[Path]:
    return [Path(folder) / name for name in ADAPTER_FILES]


def blob_of(path: Path) -> BlobKey:
    """Read a file once, for its digest and size."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return BlobKey(digest=f"sha256:{digest}", size_bytes=file.tell())


def chunks(path: Path, upload: Upload, on_progress: OnProgress) -> Iterator[WriteUploadRequest]:
    """Cut what the server does not have yet into messages, and report each as it is taken."""
    with path.open("rb") as file:
        file.seek(upload.committed_bytes)
        while data := file.read(upload.chunk_bytes):
            yield WriteUploadRequest(
                upload=upload.upload, offset_bytes=file.tell() - len(data), data=data
            )
            on_progress(Progress(path.name, file.tell(), upload.size_bytes))
