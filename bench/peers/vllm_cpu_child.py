"""vLLM in a process and an environment of its own, asked over pipes.

A script that the Python of that environment runs: it imports nothing of this package. It reads one
JSON object per line and answers each with one line; what else is printed goes to standard error.
The first object says what to build, every other one is a batch, and the end of the input ends it.
"""

import json
import os
import sys
import time
from typing import TextIO, TypedDict

import vllm
from vllm.logprobs import Logprob
from vllm.lora.request import LoRARequest


class Batch(TypedDict):
    prompts: list[list[int]]
    adapters: list[str | None]
    new_tokens: int
    logprobs: int | None


def main() -> None:
    answers = _own_output()
    setup = json.loads(sys.stdin.readline())
    adapters = {
        name: LoRARequest(name, number, path)
        for number, (name, path) in enumerate(setup["adapters"].items(), start=1)
    }
    llm = vllm.LLM(**setup["options"])
    _answer(answers, {"version": vllm.__version__})
    for line in sys.stdin:
        _answer(answers, _run(llm, adapters, json.loads(line)))


def _own_output() -> TextIO:
    """Keep the pipe for answers: whatever prints to standard output goes to standard error."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


def _answer(answers: TextIO, message: dict[str, object]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


def _run(llm: vllm.LLM, adapters: dict[str, LoRARequest], batch: Batch) -> dict[str, object]:
    sampling = vllm.SamplingParams(
        temperature=0,
        max_tokens=batch["new_tokens"],
        ignore_eos=True,
        logprobs=batch["logprobs"],
        detokenize=False,
    )
    began = time.perf_counter()
    outputs = llm.generate(
        [{"prompt_token_ids": tokens} for tokens in batch["prompts"]],
        sampling,
        lora_request=[None if name is None else adapters[name] for name in batch["adapters"]],
        use_tqdm=False,
    )
    seconds = time.perf_counter() - began
    drawn = [output.outputs[0] for output in outputs]
    return {
        "seconds": seconds,
        "tokens": [list(row.token_ids) for row in drawn],
        "logprobs": [[_leaders(step) for step in row.logprobs or ()] for row in drawn],
    }


def _leaders(step: dict[int, Logprob]) -> list[tuple[int, float]]:
    return [(token, entry.logprob) for token, entry in step.items()]


if __name__ == "__main__":
    main()
