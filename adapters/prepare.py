"""From rows and options to a plan: values resolved, examples tokenised, steps chosen.

The same code validates a data set offline, in a worker, and at the start of training.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from transformers import PreTrainedTokenizerBase

from .dataset import Row, find_overlap
from .errors import DatasetInvalid
from .findings import Findings, merge_findings
from .options import FinetuneOptions
from .packing import plan_steps, split_rows
from .seeds import draw_seed
from .template import Encoded, Encoding, Example, draw_mask, encode_rows

ROWS_FOR_HELD_OUT = 100
HELD_OUT_FRACTION = 0.05
MAX_ROW_TOKENS = 4096
EVALUATIONS = 10
SAMPLES = 3


@dataclass(frozen=True, slots=True)
class Sample:
    """A rendered row, and under each character `^` if it is trained, else `.`."""

    row: int
    text: str
    mask: str


@dataclass(frozen=True, slots=True)
class Split:
    """Sizes of one part of the data set."""

    rows: int
    tokens: int
    trained_tokens: int


@dataclass(frozen=True, slots=True)
class Report:
    """What validation says of a data set: every finding, and what would be trained."""

    findings: Findings
    train: Split
    held_out: Split
    skipped_rows: int
    num_steps: int
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """A run with every value resolved.

    Attributes:
        options: Those given, with nothing left open.
        steps: Per step, the indices of its examples in `train`.
    """

    options: FinetuneOptions
    seed: int
    max_tokens: int
    batch_tokens: int
    eval_every: int
    train: tuple[Example, ...]
    held_out: tuple[Example, ...]
    steps: tuple[tuple[int, ...], ...]
    skipped_rows: int

    @property
    def num_steps(self) -> int:
        return len(self.steps)

    @property
    def epochs(self) -> float:
        """Passes over the training set that the steps make."""
        return sum(map(len, self.steps)) / len(self.train)

    @property
    def digest(self) -> str:
        """Identity of the run: a checkpoint of another plan is not resumed."""
        whole = hashlib.sha256(json.dumps(self.options.to_json(), sort_keys=True).encode())
        for example in (*self.train, *self.held_out):
            whole.update(example.ids.tobytes() + example.trained.tobytes())
        return f"sha256:{whole.hexdigest()}"


@dataclass(frozen=True, slots=True)
class Prepared:
    """The report, and the plan unless the report has an error."""

    report: Report
    plan: Plan | None

    def require_plan(self) -> Plan:
        """The plan.

        Raises:
            DatasetInvalid: With the counts per code, if the report has an error.
        """
        if self.plan is None:
            findings = self.report.findings
            first = next(str(f) for f in findings.items if f.severity == "error")
            message = f"{findings.num_errors} errors in the data set, first: {first}"
            raise DatasetInvalid(message, **findings.counts)
        return self.plan


def prepare(
    rows: Sequence[Row],
    tokenizer: PreTrainedTokenizerBase,
    options: FinetuneOptions,
    *,
    max_context: int,
    end_ids: frozenset[int],
    held_out: Sequence[Row] | None = None,
    found: Findings | None = None,
) -> Prepared:
    """Split, tokenise and mask the rows and choose the steps.

    Args:
        max_context: Longest sequence of the model, in tokens.
        end_ids: Tokens that end a turn when the model is served.
        held_out: Rows of an evaluation set of its own; None splits one off.
        found: What reading the files has already found.
    """
    seed = options.seed if options.seed is not None else draw_seed()
    if held_out is None:
        train_rows, held_out = split_rows(rows, choose_fraction(options, len(rows)), seed)
    else:
        train_rows = tuple(rows)
    encoding = Encoding(
        max_tokens=min(options.max_tokens or MAX_ROW_TOKENS, max_context),
        end_ids=end_ids,
        truncate=options.truncate,
        drop_masked=options.drop_masked,
        train_all=options.loss == "all",
    )
    train = encode_rows(train_rows, tokenizer, encoding)
    evaluated = encode_rows(held_out, tokenizer, encoding)
    findings = merge_findings(
        [
            found.items if found is not None else (),
            find_overlap(train_rows, tuple(held_out)),
            train.findings,
            evaluated.findings,
        ]
    )
    plan = None
    if train.examples:
        plan = make_plan(options, seed, encoding.max_tokens, train, evaluated)
    report = make_report(findings, train, evaluated, plan, tokenizer)
    return Prepared(report, plan if findings.num_errors == 0 else None)


def choose_fraction(options: FinetuneOptions, num_rows: int) -> float:
    """Resolve the held-out part: by default none of a small set."""
    if options.eval_fraction is not None:
        return options.eval_fraction
    return HELD_OUT_FRACTION if num_rows >= ROWS_FOR_HELD_OUT else 0.0


def make_plan(
    options: FinetuneOptions, seed: int, max_tokens: int, train: Encoded, held_out: Encoded
) -> Plan:
    """Resolve what depends on the tokens."""
    lengths = [example.num_tokens for example in train.examples]
    batch_tokens = options.batch_tokens or min(16384, max(256, sum(lengths) // 16))
    steps = plan_steps(lengths, batch_tokens=batch_tokens, epochs=options.epochs, seed=seed)
    steps = steps[: options.max_steps]
    eval_every = options.eval_every or math.ceil(len(steps) / EVALUATIONS)
    return Plan(
        options=replace(
            options,
            seed=seed,
            max_tokens=max_tokens,
            batch_tokens=batch_tokens,
            eval_every=eval_every,
        ),
        seed=seed,
        max_tokens=max_tokens,
        batch_tokens=batch_tokens,
        eval_every=eval_every,
        train=train.examples,
        held_out=held_out.examples,
        steps=steps,
        skipped_rows=train.skipped_rows,
    )


def make_report(
    findings: Findings,
    train: Encoded,
    held_out: Encoded,
    plan: Plan | None,
    tokenizer: PreTrainedTokenizerBase,
) -> Report:
    return Report(
        findings=findings,
        train=measure(train),
        held_out=measure(held_out),
        skipped_rows=train.skipped_rows + held_out.skipped_rows,
        num_steps=plan.num_steps if plan is not None else 0,
        samples=tuple(
            Sample(example.row, *draw_mask(example, tokenizer))
            for example in train.examples[:SAMPLES]
        ),
    )


def measure(encoded: Encoded) -> Split:
    return Split(
        rows=len({example.row for example in encoded.examples}),
        tokens=sum(example.num_tokens for example in encoded.examples),
        trained_tokens=sum(example.num_trained for example in encoded.examples),
    )
