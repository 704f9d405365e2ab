"""One optimizer step of LoRA training: its state, its forward, its loss, its learning rate."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from peft import LoraConfig, PeftModel
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from .errors import LossNotFinite
from .lora import read_tensors
from .packing import MicroBatch, make_micro_batches
from .prepare import Plan
from .seeds import stream_seed
from .template import Example

COSINE_FLOOR = 0.1

Forward = Callable[[nn.Module, MicroBatch], Tensor]


@dataclass(frozen=True, slots=True)
class Metrics:
    """What one optimizer step gave: the mean loss in nats, the norm before clipping, the rate."""

    loss: float
    grad_norm: float
    learning_rate: float


@dataclass(slots=True)
class TrainState:
    """A run in memory: the adapter on its base, the optimizer, and how far it is.

    Attributes:
        tensors: The adapter's parameters by their names in PEFT's file.
        forward: Gives the logits at `source_at` of a micro-batch, [len(source_at), vocabulary].
        packed: Whether rows share a micro-batch.
        losses: One per step so far.
    """

    model: PeftModel
    config: LoraConfig
    plan: Plan
    tensors: dict[str, nn.Parameter]
    optimizer: torch.optim.AdamW
    forward: Forward
    packed: bool
    step: int = 0
    trained_tokens: int = 0
    masked_tokens: int = 0
    losses: list[float] = field(default_factory=list)
    eval_losses: list[tuple[int, float]] = field(default_factory=list)

    @property
    def device(self) -> torch.device:
        return next(iter(self.tensors.values())).device

    def lay_out(self, examples: Sequence[Example]) -> tuple[MicroBatch, ...]:
        """Make the micro-batches of some examples, on the model's device."""
        capacity = self.plan.max_tokens if self.packed else None
        batches = make_micro_batches(examples, capacity=capacity)
        return tuple(batch.to(self.device) for batch in batches)


def make_state(
    model: PeftModel, config: LoraConfig, plan: Plan, *, forward: Forward, packed: bool
) -> TrainState:
    """Start a run at step 0."""
    tensors = read_tensors(model)
    options = plan.options
    optimizer = torch.optim.AdamW(
        tensors.values(), lr=options.learning_rate, weight_decay=options.weight_decay
    )
    return TrainState(model, config, plan, tensors, optimizer, forward, packed)


def train_step(
    state: TrainState, examples: Sequence[Example], *, check: Callable[[], None]
) -> Metrics:
    """Take one optimizer step on `examples`.

    `check` is called before every micro-batch; when it raises, the step is not taken and the state
    is that before it.

    Raises:
        LossNotFinite: Loss or gradient norm, with the rows of the step; nothing is updated.
    """
    plan = state.plan
    learning_rate = schedule_rate(plan, state.step)
    total = sum(example.num_trained for example in examples)
    loss = torch.zeros((), dtype=torch.float64)
    state.optimizer.zero_grad(set_to_none=True)
    state.model.train()
    with dropout_stream(plan.seed, state.step, state.device):
        for batch in state.lay_out(examples):
            check()
            part = sum_loss(state, batch) / total
            part.backward()  # type: ignore[no-untyped-call]
            loss += part.detach().cpu()
    norm = nn.utils.clip_grad_norm_(list(state.tensors.values()), plan.options.grad_clip)
    require_finite(float(loss), float(norm), state.step + 1, examples)
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate
    state.optimizer.step()
    state.step += 1
    state.trained_tokens += total
    state.masked_tokens += sum(example.num_tokens for example in examples) - total
    state.losses.append(float(loss))
    return Metrics(float(loss), float(norm), learning_rate)


def evaluate(
    state: TrainState, examples: Sequence[Example], *, check: Callable[[], None]
) -> float | None:
    """Mean loss per trained token of held-out examples; None without any."""
    total = sum(example.num_trained for example in examples)
    if total == 0:
        return None
    loss = 0.0
    state.model.eval()
    with torch.no_grad():
        for batch in state.lay_out(examples):
            check()
            loss += float(sum_loss(state, batch))
    return loss / total


def sum_loss(state: TrainState, batch: MicroBatch) -> Tensor:
    """Sum the cross entropy over the trained tokens of a micro-batch."""
    logits = state.forward(state.model, batch)
    return cross_entropy(logits.float(), batch.targets, reduction="sum")


def forward_model(model: nn.Module, batch: MicroBatch) -> Tensor:
    """Run a model of transformers over a pack; it separates the rows by their positions."""
    output = model(
        input_ids=batch.ids_T[None],
        position_ids=batch.positions_T[None],
        use_cache=False,
        logits_to_keep=batch.source_at,
    )
    logits = output.logits[0]
    assert isinstance(logits, Tensor)
    return logits


def require_finite(loss: float, norm: float, step: int, examples: Iterable[Example]) -> None:
    """Fail the run when a step gave no finite numbers."""
    if math.isfinite(loss) and math.isfinite(norm):
        return
    rows = sorted({example.row for example in examples})
    shown = ", ".join(map(str, rows))
    message = f"step {step}: loss {loss:g}, gradient norm {norm:g}, rows {shown}"
    raise LossNotFinite(message, step=step, rows=",".join(map(str, rows)))


def schedule_rate(plan: Plan, step: int) -> float:
    """Learning rate of a step, counted from 0: warm-up, then a cosine to a tenth, a line to 0, or
    constant."""
    options = plan.options
    warmup = math.ceil(options.warmup * plan.num_steps)
    if step < warmup:
        return options.learning_rate * (step + 1) / warmup
    if options.schedule == "constant":
        return options.learning_rate
    done = (step - warmup) / max(1, plan.num_steps - warmup)
    if options.schedule == "linear":
        return options.learning_rate * (1 - done)
    shape = (1 + math.cos(math.pi * done)) / 2
    return options.learning_rate * (COSINE_FLOOR + (1 - COSINE_FLOOR) * shape)


@contextmanager
def dropout_stream(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """Draw a step's dropout from the seed and the step alone; the process's streams stay."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(stream_seed(seed, f"dropout:{step}"))
        yield


def separates_rows(model: nn.Module, forward: Forward, device: torch.device) -> bool:
    """Say whether a row in a pack is untouched by its neighbour: its logits are, to the bit."""
    ids = torch.arange(16, device=device)
    positions = torch.arange(8, device=device).repeat(2)
    source_at = torch.arange(8, 16, device=device)
    found: list[Tensor] = []
    model.eval()
    with torch.no_grad():
        for neighbour in (ids, torch.cat([ids[:8].flip(0), ids[8:]])):
            batch = MicroBatch(neighbour, positions, source_at, ids[8:], ())
            found.append(forward(model, batch))
    return bool(torch.equal(found[0], found[1]))
