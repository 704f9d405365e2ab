"""The table at the end."""

import io

from rich.console import Console

from weft.demo.measure import Rates
from weft.demo.run import make_table


def test_the_table_has_every_figure_with_its_unit() -> None:
    console = Console(file=io.StringIO(), width=80)
    console.print(make_table(Rates(batch=10, base=1600, mixed=1200), 3.14, 42.4))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    for figure in ("10 streams", "1600 tokens/s", "1200 tokens/s", "0.75", "3.1 ms", "42 ms"):
        assert figure in text
