"""What a worker does in its one training thread: read data, train, check, probe. No Redis here."""

import gc
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from weft.adapters.admission import Candidate
from weft.adapters.checkpoint import Checkpoint, read_checkpoint
from weft.adapters.dataset import Dataset, read_dataset
from weft.adapters.errors import ContentCorrupt
from weft.adapters.findings import merge_findings
from weft.adapters.finetune import (
    Checkpoints,
    Progress,
    Result,
    find_end_ids,
    finish,
    open_state,
    train,
)
from weft.adapters.options import FinetuneOptions, read_options
from weft.adapters.prepare import Plan, Prepared, prepare
from weft.adapters.probe import ProbeResult
from weft.adapters.sites import BaseFacts
from weft.adapters.tensor_checks import Limits
from weft.adapters.weights import check_adapter

from .model.loader import load_model
from .worker_probe import probe_image

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DataFiles:
    """Data sets on the local disk; without `held_out` a part of `train` is split off."""

    train: Path
    held_out: Path | None


@dataclass(frozen=True, slots=True)
class Validated:
    """What validation found, and the format and rows of the training file."""

    prepared: Prepared
    format: str | None
    num_rows: int


@dataclass(frozen=True, slots=True)
class TrainOrder:
    """One job's training.

    Attributes:
        options: Resolved at validation: their JSON form.
        folder: Of the job's checkpoints.
        resume: The checkpoint to go on from; one that cannot be used is passed over.
        stop: Set by another thread to end it between two micro-steps.
    """

    data: DataFiles
    options: Mapping[str, object]
    folder: Path
    out_dir: Path
    resume: Checkpoint | None
    stop: Event


class Training:
    """The base's copy of a worker. One thread calls it."""

    def __init__(
        self, folder: Path, facts: BaseFacts, *, device: torch.device, limits: Limits
    ) -> None:
        self._folder = folder
        self._facts = facts
        self._device = device
        self._dtype: torch.dtype = getattr(torch, facts.dtype)
        self._limits = limits
        self._model: PreTrainedModel | None = None
        self._tokenizer: PreTrainedTokenizerBase | None = None

    @property
    def is_loaded(self) -> bool:
        return self._model is not None

    def free(self) -> None:
        """Drop the base."""
        self._model = None
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def validate(self, data: DataFiles, options: FinetuneOptions) -> Validated:
        """Read and check data sets; needs the tokenizer only."""
        train_set = read_dataset(data.train)
        held_out = read_dataset(data.held_out) if data.held_out is not None else None
        return Validated(
            self._prepare(train_set, held_out, options),
            str(train_set.format) if train_set.format is not None else None,
            len(train_set.rows),
        )

    def _prepare(
        self, train_set: Dataset, held_out: Dataset | None, options: FinetuneOptions
    ) -> Prepared:
        tokenizer = self._load_tokenizer()
        findings = [train_set.findings, held_out.findings if held_out is not None else ()]
        return prepare(
            train_set.rows,
            tokenizer,
            options,
            max_context=self._facts.max_context,
            end_ids=find_end_ids(read_generation(self._folder), tokenizer),
            held_out=held_out.rows if held_out is not None else None,
            found=merge_findings(findings),
        )

    def train(
        self,
        order: TrainOrder,
        *,
        on_start: Callable[[bool, int], None],
        on_progress: Callable[[Progress], None],
    ) -> Result:
        """Train to the end and save the adapter.

        Args:
            on_start: Told whether rows are packed, and from which step it goes on.

        Raises:
            DatasetInvalid: The data are not those that were validated.
            TrainingStopped: `stop` was set; a checkpoint of the last whole step is on the disk.
            LossNotFinite: Training diverged.
        """
        plan = self._plan(order)
        checkpoints = Checkpoints(order.folder, self._facts.digest)
        resume = find_usable(order.resume, plan)
        model = self._load_model()
        members = [member.name for site in self._facts.sites for member in site.members]
        with open_state(model, plan, modules=members, resume=resume) as state:
            on_start(state.packed, state.step)
            for progress in train(state, checkpoints=checkpoints, stop=order.stop):
                on_progress(progress)
            return finish(
                state,
                order.out_dir,
                base_digest=self._facts.digest,
                template_digest=self._facts.template_digest,
            )

    def _plan(self, order: TrainOrder) -> Plan:
        data = order.data
        held_out = read_dataset(data.held_out) if data.held_out is not None else None
        options = read_options(order.options, max_rank=self._limits.max_rank)
        return self._prepare(read_dataset(data.train), held_out, options).require_plan()

    def probe(self, candidate: Candidate) -> ProbeResult:
        """Run an adapter that was trained here as the engine would.

        It runs on a copy of the base that serves, in place of the one that trains: tensors that
        were made for inference cannot be trained on.

        Raises:
            Refused: It differs from its files, has no effect, or is not finite.
        """
        self.free()
        adapter = check_adapter(
            candidate.config_path, candidate.weights_path, self._facts, limits=self._limits
        )
        loaded = load_model(self._folder, facts=self._facts, device=self._device, dtype=self._dtype)
        return probe_image(loaded, self._facts, adapter, candidate.image_path)

    def _load_model(self) -> PreTrainedModel:
        if self._model is None:
            model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
                self._folder, dtype=self._dtype
            )
            self._model = torch.nn.Module.to(model, self._device)
            logger.info("base %s loaded for training", self._facts.name)
        return self._model

    def _load_tokenizer(self) -> PreTrainedTokenizerBase:
        if self._tokenizer is None:
            self._tokenizer = AutoTokenizer.from_pretrained(self._folder)
        return self._tokenizer


def read_generation(folder: Path) -> GenerationConfig:
    """The generation config of a checkpoint, or the one that its model config implies."""
    if (folder / "generation_config.json").is_file():
        return GenerationConfig.from_pretrained(folder)
    return GenerationConfig.from_model_config(AutoConfig.from_pretrained(folder))


def find_usable(checkpoint: Checkpoint | None, plan: Plan) -> Checkpoint | None:
    """The checkpoint if it is here, whole, and of this plan."""
    if checkpoint is None:
        return None
    try:
        snapshot = read_checkpoint(checkpoint.path, digest=checkpoint.digest)
    except ContentCorrupt as err:
        logger.warning("training starts again from step 0: %s", err)
        return None
    return checkpoint if snapshot.plan == plan.digest else None
