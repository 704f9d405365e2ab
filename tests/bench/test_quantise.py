"""A plain and a quantised base beside one another: perplexities, and rates in turn."""

from pathlib import Path

import pytest

from weft.bench.machine import Source
from weft.bench.quantise import QuantiseOptions, check_perplexities, run_quantise
from weft.bench.record import Invocation
from weft.bench.table import write_table

from .shops import save_shop

INVOCATION = Invocation("weft bench quantise", Source("0123456789ab", "clean"), "a test")
PRECISIONS = ("float32", "float32+int8", "float32+fp8")


def test_suite_runs_from_end_to_end(tmp_path: Path) -> None:
    shop = save_shop(tmp_path / "shop").folder
    options = QuantiseOptions(True, "cpu", "float32", threads=1, seed=0, shop=shop)
    record = run_quantise(options, tmp_path, invocation=INVOCATION, say=lambda _: None)
    cells = {(cell.contender, cell.figure): cell for cell in record.cells}
    batches, figures = ("1 base row", "base", "mixed"), ("rate", "step_ms")
    assert cells.keys() == {
        *((f"{who} {name}", "perplexity") for who in PRECISIONS for name in ("base", "own")),
        *((f"{who} {b}", f) for who in PRECISIONS[:2] for b in batches for f in figures),
    }
    plain, *quantised = (cells[f"{who} own", "perplexity"].median for who in PRECISIONS)
    assert all(value != plain and value == pytest.approx(plain, rel=0.1) for value in quantised)
    assert [(ratio.above, ratio.below) for ratio in record.ratios] == [
        (f"float32+int8 {batch}", f"float32 {batch}") for batch in batches
    ]
    assert f"{plain:,.4f}" in write_table(record)


def test_a_perplexity_that_rises_by_more_than_a_percent_is_wrong() -> None:
    found = {
        "bfloat16": {"base": 2.0, "own": 1.5},
        "bfloat16+int8": {"base": 2.019, "own": 1.4},
        "bfloat16+fp8": {"base": 1.9, "own": 1.516},
    }
    right, wrong = check_perplexities(found, plain="bfloat16")
    assert (right.name, right.holds) == ("perplexity in bfloat16+int8", True)
    assert (wrong.name, wrong.holds) == ("perplexity in bfloat16+fp8", False)
    assert "own 1.5000 to 1.5160 (+1.07%)" in wrong.text
