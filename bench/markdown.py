"""Markdown that also reads well as plain text."""

from collections.abc import Iterable, Sequence


def align_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table, padded; columns of words to the left, those of figures to the right.

    A heading that ends in a colon makes its column one of figures; the colon is not shown.
    """
    is_figure = [heading.endswith(":") for heading in headings]
    table = [[heading.removesuffix(":") for heading in headings], *map(list, rows)]
    widths = [max(3, *map(len, column)) for column in zip(*table, strict=True)]
    rule = [
        "-" * (width - 1) + (":" if right else "-")
        for width, right in zip(widths, is_figure, strict=True)
    ]
    lines = []
    for row in (table[0], rule, *table[1:]):
        cells = zip(row, widths, is_figure, strict=True)
        padded = (cell.rjust(width) if right else cell.ljust(width) for cell, width, right in cells)
        lines.append(f"| {' | '.join(padded)} |")
    return lines
