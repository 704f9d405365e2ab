"""Copy the few modules of installed peers that the bench imports, for machines without network."""

import shutil
from pathlib import Path

from . import sglang, vllm
from .standins import find_root

PEERS = {sglang.PACKAGE: sglang.FILES, vllm.PACKAGE: vllm.FILES}


def pack_peer(package: str, pack: Path) -> int:
    """Replace a package's part of the pack by copies from the installed one; say how many bytes.

    Raises:
        PeerMissing: The package is not installed.
        FileNotFoundError: It is, but one of PEERS' patterns finds nothing in it.
    """
    root = find_root(package, pack=None)
    files = [file for pattern in PEERS[package] for file in _match(root, pattern)]
    target = pack / package
    shutil.rmtree(target, ignore_errors=True)
    for file in files:
        copy = target / file.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    return sum(file.stat().st_size for file in files)


def _match(root: Path, pattern: str) -> list[Path]:
    files = sorted(root.glob(pattern))
    if not files:
        raise FileNotFoundError(f"{root} has no {pattern}")
    return files
