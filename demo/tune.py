"""The recipe of the demo's committed adapters: the fine-tuning that jobs run, on its data sets."""

import logging
import shutil
from pathlib import Path

import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from weft.adapters.dataset import read_dataset
from weft.adapters.finetune import Progress, Result, finetune
from weft.adapters.options import FinetuneOptions, read_options
from weft.server.model.facts import base_facts

from .places import ADAPTERS, BASE, DATA

log = logging.getLogger(__name__)
JOB_FILE = "job.yaml"


def tune_all(folder: Path) -> None:
    """Train every committed adapter again, from the job file beside it, into `folder`."""
    for job in sorted(ADAPTERS.glob(f"*/{JOB_FILE}")):
        name = job.parent.name
        log.info("%s", name)
        result = tune(job, DATA / f"{name}.jsonl", folder / name)
        log.info("%s: loss %.3f to %.3f", name, result.losses[0], result.losses[-1])
        if folder / name != job.parent:
            shutil.copy(job, folder / name)


def tune(job: Path, data: Path, folder: Path) -> Result:
    """Train one adapter of the demo's base as a job of this file does; PEFT's files in `folder`."""
    model = AutoModelForCausalLM.from_pretrained(BASE, dtype="float32")
    return finetune(
        model,
        AutoTokenizer.from_pretrained(BASE),
        read_dataset(data).rows,
        read_job_options(job),
        folder,
        show,
        base_digest=base_facts(BASE, name="base", dtype="float32", hash_cache=None).digest,
    )


def read_job_options(job: Path) -> FinetuneOptions:
    """Read how to train from a job file."""
    document = yaml.safe_load(job.read_text(encoding="utf-8"))
    return read_options(
        {"lora": document["lora"], **document["optimisation"], **document["limits"]}
    )


def show(progress: Progress) -> None:
    """Log the loss now and then."""
    if progress.step % 10 == 0:
        log.info("step %d of %d: loss %.3f", progress.step, progress.num_steps, progress.loss)
