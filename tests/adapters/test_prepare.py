"""From rows to a plan."""

from dataclasses import replace
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

from tests.tiny import tiny_tokenizer
from weft.adapters.dataset import Row, read_dataset
from weft.adapters.errors import DatasetInvalid
from weft.adapters.findings import Findings
from weft.adapters.options import FinetuneOptions
from weft.adapters.prepare import Prepared, prepare

from .chats import chat, orders, read_rows, write_jsonl

OPTIONS = FinetuneOptions(seed=1)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return tiny_tokenizer()


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[Row, ...]:
    return read_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl", orders(120))


def make(
    rows: tuple[Row, ...],
    tokenizer: PreTrainedTokenizerBase,
    options: FinetuneOptions = OPTIONS,
    *,
    held_out: tuple[Row, ...] | None = None,
    found: Findings | None = None,
) -> Prepared:
    assert isinstance(tokenizer.eos_token_id, int)
    ends = frozenset({tokenizer.eos_token_id})
    return prepare(
        rows, tokenizer, options, max_context=512, end_ids=ends, held_out=held_out, found=found
    )


def test_every_open_value_is_resolved(
    rows: tuple[Row, ...], tokenizer: PreTrainedTokenizerBase
) -> None:
    plan = make(rows, tokenizer).require_plan()

    total = sum(example.num_tokens for example in plan.train)
    assert plan.batch_tokens == max(256, total // 16)
    assert plan.max_tokens == 512
    assert plan.eval_every == -(-plan.num_steps // 10)
    assert plan.epochs == 3
    options = plan.options
    assert (options.seed, options.max_tokens) == (1, 512)
    assert (options.batch_tokens, options.eval_every) == (plan.batch_tokens, plan.eval_every)


def test_given_values_are_kept(rows: tuple[Row, ...], tokenizer: PreTrainedTokenizerBase) -> None:
    given = replace(OPTIONS, batch_tokens=100, max_tokens=64, eval_every=2, max_steps=5)
    plan = make(rows, tokenizer, given).require_plan()
    assert (plan.batch_tokens, plan.max_tokens, plan.eval_every) == (100, 64, 2)
    assert plan.num_steps == 5
    assert make(rows, tokenizer, replace(given, max_tokens=9999)).plan is not None


def test_a_seed_is_drawn_once_when_none_is_given(
    rows: tuple[Row, ...], tokenizer: PreTrainedTokenizerBase
) -> None:
    open_seed = replace(OPTIONS, seed=None)
    first, second = (make(rows, tokenizer, open_seed).require_plan() for _ in range(2))
    assert first.seed != second.seed
    again = make(rows, tokenizer, first.options).require_plan()
    assert (again.digest, again.steps) == (first.digest, first.steps)


@pytest.mark.parametrize(("num_rows", "expected"), [(99, 0), (120, 1)])
def test_small_sets_hold_nothing_out(
    rows: tuple[Row, ...], tokenizer: PreTrainedTokenizerBase, num_rows: int, expected: int
) -> None:
    report = make(rows[:num_rows], tokenizer).report
    assert min(report.held_out.rows, 1) == expected
    assert report.train.rows + report.held_out.rows == num_rows


def test_evaluation_set_of_its_own_is_not_split_off(
    rows: tuple[Row, ...], tokenizer: PreTrainedTokenizerBase
) -> None:
    plan = make(rows[:110], tokenizer, held_out=rows[110:]).require_plan()
    assert (len(plan.train), len(plan.held_out)) == (110, 10)

    overlapping = make(rows, tokenizer, held_out=rows[:2])
    assert overlapping.report.findings.counts["S502"] == 2
    with pytest.raises(DatasetInvalid, match="S502"):
        overlapping.require_plan()


def test_report_counts_tokens_and_shows_rows_with_masks(
    rows: tuple[Row, ...], tokenizer: PreTrainedTokenizerBase
) -> None:
    prepared = make(rows, tokenizer)
    plan, report = prepared.require_plan(), prepared.report

    assert report.train.tokens == sum(e.num_tokens for e in plan.train)
    assert report.train.trained_tokens == sum(e.num_trained for e in plan.train)
    assert report.num_steps == plan.num_steps
    assert len(report.samples) == 3
    for sample in report.samples:
        assert len(sample.text) == len(sample.mask)
        start = sample.mask.index("^")
        assert sample.text[:start].endswith("<|assistant|>")
        assert sample.mask[start:] == "^" * (len(sample.text) - start)


def test_errors_of_reading_stop_the_plan(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [chat("a", "b"), {"messages": []}])
    read = read_dataset(path)

    prepared = make(read.rows, tokenizer, found=Findings(read.findings))

    assert prepared.plan is None
    assert prepared.report.num_steps > 0
    with pytest.raises(DatasetInvalid, match="1 errors in the data set, first: F103") as caught:
        prepared.require_plan()
    assert caught.value.metadata == {"F103": "1", "F107": "1"}


def test_no_rows_make_no_plan(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    read = read_dataset(write_jsonl(tmp_path / "rows.jsonl", []))
    prepared = make(read.rows, tokenizer, found=Findings(read.findings))
    assert (prepared.plan, prepared.report.samples) == (None, ())
    with pytest.raises(DatasetInvalid, match="F106"):
        prepared.require_plan()


def test_plan_of_other_rows_or_options_has_another_digest(
    rows: tuple[Row, ...], tokenizer: PreTrainedTokenizerBase
) -> None:
    plans = [
        make(rows, tokenizer),
        make(rows[1:], tokenizer),
        make(rows, tokenizer, replace(OPTIONS, learning_rate=1e-3)),
        make(rows, tokenizer, replace(OPTIONS, seed=2)),
    ]
    assert len({prepared.require_plan().digest for prepared in plans}) == 4
