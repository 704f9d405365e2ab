"""What a record says of the machine and the sources."""

import subprocess
from pathlib import Path

import pytest
import torch

from weft.bench.machine import find_hardware, find_source, find_versions, load_average

ROOT = Path(__file__).parents[2]


def test_source_is_the_commit_of_these_files() -> None:
    git = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    head = subprocess.run(git, capture_output=True, text=True, check=False)
    source = find_source("0123456789ab")
    if head.returncode:
        assert source == ("0123456789ab", "as stated")
    else:
        assert head.stdout.startswith(source.commit)
        assert source.tree in ("clean", "dirty")


@pytest.mark.parametrize("stated", ["", "main", "../../etc", "0123456789abg"])
def test_stated_commit_that_is_none_is_refused(stated: str) -> None:
    with pytest.raises(ValueError, match="not 7 to 40 hexadecimal digits"):
        find_source(stated)


def test_without_git_what_is_stated_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_source("0123456789ab") == ("0123456789ab", "as stated")
    assert find_source(None) == ("unknown", "unknown")


def test_hardware_names_processor_cores_and_threads() -> None:
    hardware = find_hardware(torch.device("cpu"))
    assert hardware["threads"] == torch.get_num_threads()
    assert int(hardware["cores"]) >= 1
    assert int(hardware["memory_bytes"]) > 1 << 28
    assert hardware["cpu"]
    assert "gpu" not in hardware


def test_versions_name_what_the_figures_depend_on() -> None:
    versions = find_versions()
    assert versions["torch"] == torch.__version__
    assert {"python", "triton", "transformers", "peft", "sglang", "vllm"} <= versions.keys()


def test_load_average_is_a_number_of_processes() -> None:
    assert load_average() >= 0
