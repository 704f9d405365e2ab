"""Train an adapter: the driver around `train_step`, with evaluation, checkpoints and resuming."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from threading import Event

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from .checkpoint import Checkpoint, Snapshot, read_checkpoint, write_checkpoint
from .dataset import Row
from .errors import ContentCorrupt, TrainingStopped, Unsupported
from .lora import adapted, choose_modules, list_linears, make_config, save_adapter
from .options import FinetuneOptions
from .prepare import Plan, prepare
from .train_step import (
    Forward,
    Metrics,
    TrainState,
    evaluate,
    forward_model,
    make_state,
    separates_rows,
    train_step,
)

KEPT_CHECKPOINTS = 2
CHECKPOINT_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is after a step.

    Attributes:
        loss: Mean over the step's trained tokens, in nats.
        eval_loss: The same over the held-out part, when it was evaluated at this step.
        grad_norm: Before clipping.
        trained_tokens, masked_tokens: Seen so far by this process, with and without loss.
        eta_s: Time to the last step at the mean speed of this process.
        checkpoint: Written after this step, if one was.
    """

    step: int
    num_steps: int
    epoch: float
    loss: float
    eval_loss: float | None
    learning_rate: float
    grad_norm: float
    trained_tokens: int
    masked_tokens: int
    tokens_per_s: float
    eta_s: float
    skipped_rows: int
    checkpoint: Checkpoint | None


@dataclass(frozen=True, slots=True)
class Result:
    """A finished run: PEFT's two files are in `path`.

    Attributes:
        losses: One per step.
        eval_losses: Step and loss of every evaluation.
        packed: Whether rows were packed; False where attention cannot separate them.
        options: With nothing left open.
    """

    path: Path
    num_steps: int
    losses: tuple[float, ...]
    eval_losses: tuple[tuple[int, float], ...]
    packed: bool
    options: FinetuneOptions


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Where checkpoints are written; None of a run keeps none."""

    folder: Path
    base_digest: str


def finetune(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Row],
    options: FinetuneOptions,
    out_dir: Path,
    on_progress: Callable[[Progress], None],
    *,
    base_digest: str,
    template_digest: str = "",
    held_out: Sequence[Row] | None = None,
) -> Result:
    """Train an adapter on `rows` from start to end, and save it in PEFT's layout in `out_dir`.

        rows = read_dataset(Path("train.jsonl")).rows
        options = FinetuneOptions(lora=LoraOptions(rank=8), learning_rate=1e-3, seed=1)
        finetune(model, tokenizer, rows, options, Path("out"), show, base_digest=facts.digest)

    The model is any causal language model of transformers; it is as before at the end.
    `on_progress` is called after every optimizer step. Device and dtype are the model's; adapter
    weights and optimizer state are float32. One seed and one thread count give the same bits.

    Raises:
        DatasetInvalid: The rows have errors.
        OptionsInvalid: A target or a pattern that matches no module.
        LossNotFinite: Training diverged.
    """
    prepared = prepare(
        rows,
        tokenizer,
        options,
        max_context=model.config.max_position_embeddings,
        end_ids=find_end_ids(model.generation_config, tokenizer),
        held_out=held_out,
    )
    with open_state(model, prepared.require_plan()) as state:
        for progress in train(state):
            on_progress(progress)
        return finish(state, out_dir, base_digest=base_digest, template_digest=template_digest)


def find_end_ids(
    generation: GenerationConfig | None, tokenizer: PreTrainedTokenizerBase
) -> frozenset[int]:
    """Tokens that end a turn when a model with this generation config is served."""
    given = generation.eos_token_id if generation is not None else None
    ends = given if isinstance(given, list) else [given]
    return frozenset(i for i in (*ends, tokenizer.eos_token_id) if isinstance(i, int))


@contextmanager
def open_state(
    model: PreTrainedModel,
    plan: Plan,
    *,
    modules: Collection[str] | None = None,
    forward: Forward = forward_model,
    resume: Checkpoint | None = None,
) -> Iterator[TrainState]:
    """Put a fresh or resumed adapter on the base for the time of a run.

    Args:
        modules: Paths of the modules that may take an adapter; None is every Linear but the last.

    Raises:
        OptionsInvalid: A target or a pattern that matches no module.
        Unsupported: Packing was asked for and the model's attention cannot separate rows.
        ContentCorrupt: The checkpoint's files are not those recorded, or of another run.
    """
    linears = list_linears(model)
    chosen = choose_modules(plan.options.lora, modules if modules is not None else linears)
    config = make_config(plan.options.lora, chosen, linears)
    packed = plan.options.packing is not False and separates_rows(model, forward, model.device)
    if plan.options.packing and not packed:
        raise Unsupported(
            "packing: attention of this base cannot separate rows", features="packing"
        )
    with adapted(model, config, seed=plan.seed) as peft_model, checkpointed(model):
        state = make_state(peft_model, config, plan, forward=forward, packed=packed)
        if resume is not None:
            restore(state, read_checkpoint(resume.path, digest=resume.digest))
        yield state


@contextmanager
def checkpointed(model: PreTrainedModel) -> Iterator[None]:
    """Recompute activations in the backward pass on a GPU, where memory is what is short."""
    if model.device.type != "cuda":
        yield
        return
    model.gradient_checkpointing_enable({"use_reentrant": False})
    try:
        yield
    finally:
        model.gradient_checkpointing_disable()


def train(
    state: TrainState, *, checkpoints: Checkpoints | None = None, stop: Event | None = None
) -> Iterator[Progress]:
    """Run the remaining steps, yielding after each.

    Older checkpoints stay until the caller, having recorded the new one, calls `prune`. The
    generator may be dropped at any yield.

    Raises:
        TrainingStopped: `stop` was set; if any step was taken, its checkpoint is written.
        LossNotFinite: Training diverged.
    """
    stop = stop or Event()
    clock = Clock(time.monotonic(), time.monotonic(), state.step)
    plan = state.plan

    def check() -> None:
        if stop.is_set():
            raise TrainingStopped(f"stopped after step {state.step} of {plan.num_steps}")

    while state.step < plan.num_steps:
        examples = [plan.train[i] for i in plan.steps[state.step]]
        try:
            metrics = train_step(state, examples, check=check)
            last = state.step == plan.num_steps
            if last or state.step % plan.eval_every == 0:
                note_evaluation(state, check)
        except TrainingStopped:
            if checkpoints is not None and state.step > 0:
                save_checkpoint(state, checkpoints)
            raise
        checkpoint = None
        if checkpoints is not None and (last or clock.is_due(state)):
            checkpoint = save_checkpoint(state, checkpoints)
            clock.saved_at = time.monotonic()
        yield measure_progress(state, metrics, clock, checkpoint)


def note_evaluation(state: TrainState, check: Callable[[], None]) -> None:
    """Evaluate the held-out part, if there is one, and keep the result with its step."""
    loss = evaluate(state, state.plan.held_out, check=check)
    if loss is not None:
        state.eval_losses.append((state.step, loss))


@dataclass(slots=True)
class Clock:
    """When this process started, when it last saved, and at which step it began."""

    started_at: float
    saved_at: float
    first_step: int

    def is_due(self, state: TrainState) -> bool:
        """Say whether a checkpoint is due, by steps or by time."""
        waited_s = time.monotonic() - self.saved_at
        every = state.plan.options.checkpoint_every
        return state.step % every == 0 or waited_s > CHECKPOINT_SECONDS


def measure_progress(
    state: TrainState, metrics: Metrics, clock: Clock, checkpoint: Checkpoint | None
) -> Progress:
    plan = state.plan
    elapsed_s = max(1e-9, time.monotonic() - clock.started_at)
    taken = state.step - clock.first_step
    evaluated = state.eval_losses[-1] if state.eval_losses else (0, 0.0)
    return Progress(
        step=state.step,
        num_steps=plan.num_steps,
        epoch=plan.epochs * state.step / plan.num_steps,
        loss=metrics.loss,
        eval_loss=evaluated[1] if evaluated[0] == state.step else None,
        learning_rate=metrics.learning_rate,
        grad_norm=metrics.grad_norm,
        trained_tokens=state.trained_tokens,
        masked_tokens=state.masked_tokens,
        tokens_per_s=(state.trained_tokens + state.masked_tokens) / elapsed_s,
        eta_s=elapsed_s / taken * (plan.num_steps - state.step),
        skipped_rows=plan.skipped_rows,
        checkpoint=checkpoint,
    )


def finish(
    state: TrainState, out_dir: Path, *, base_digest: str, template_digest: str = ""
) -> Result:
    """Save the adapter of a finished run; the digests are stamped into its weights."""
    assert state.step == state.plan.num_steps
    out_dir.mkdir(parents=True, exist_ok=True)
    save_adapter(
        out_dir,
        state.config,
        state.tensors,
        base_digest=base_digest,
        template_digest=template_digest,
    )
    return Result(
        path=out_dir,
        num_steps=state.step,
        losses=tuple(state.losses),
        eval_losses=tuple(state.eval_losses),
        packed=state.packed,
        options=state.plan.options,
    )


def save_checkpoint(state: TrainState, checkpoints: Checkpoints) -> Checkpoint:
    """Write the state after the last whole step."""
    moments = [state.optimizer.state[parameter] for parameter in state.tensors.values()]
    snapshot = Snapshot(
        step=state.step,
        plan=state.plan.digest,
        tensors=state.tensors,
        first_moments={n: m["exp_avg"] for n, m in zip(state.tensors, moments, strict=True)},
        second_moments={n: m["exp_avg_sq"] for n, m in zip(state.tensors, moments, strict=True)},
        losses=tuple(state.losses),
        eval_losses=tuple(state.eval_losses),
    )
    return write_checkpoint(
        checkpoints.folder, snapshot, state.config, base_digest=checkpoints.base_digest
    )


def restore(state: TrainState, snapshot: Snapshot) -> None:
    """Bring a fresh state to where a checkpoint was written.

    Raises:
        ContentCorrupt: The checkpoint is of another plan.
    """
    if snapshot.plan != state.plan.digest or snapshot.tensors.keys() != state.tensors.keys():
        message = f"checkpoint of step {snapshot.step} belongs to another run"
        raise ContentCorrupt(message, plan=snapshot.plan)
    with torch.no_grad():
        for name, parameter in state.tensors.items():
            parameter.copy_(snapshot.tensors[name])
            state.optimizer.state[parameter] = {
                "step": torch.tensor(float(snapshot.step)),
                "exp_avg": snapshot.first_moments[name].to(parameter.device),
                "exp_avg_sq": snapshot.second_moments[name].to(parameter.device),
            }
    state.step = snapshot.step
    state.losses = list(snapshot.losses)
    state.eval_losses = list(snapshot.eval_losses)


def prune(folder: Path) -> None:
    """Remove all but the last two checkpoints."""
    for path in sorted(folder.glob("step-*"))[:-KEPT_CHECKPOINTS]:
        rmtree(path)
