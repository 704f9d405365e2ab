"""Answers side by side on a terminal, line by line elsewhere."""

import io

from rich.console import Console

from weft.demo.board import Board


def show(*, terminal: bool) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    with Board(console, ("base", "sales")) as board:
        for text in ("Hello", " [you]"):
            board.add("base", text)
        board.add("sales", "Buy!")
        for model in ("sales", "base"):
            board.finish(model)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_pipe_gets_one_line_per_answer_as_it_ends() -> None:
    assert show(terminal=False) == "  sales: Buy!\n  base: Hello [you]\n"


def test_a_terminal_gets_the_answers_in_one_row() -> None:
    row = next(line for line in show(terminal=True).splitlines() if "Hello [you]" in line)
    assert "Buy!" in row


def test_four_answers_stand_side_by_side_on_80_columns() -> None:
    console = Console(file=io.StringIO(), width=80)
    models = ("base", "returns", "technical", "sales")
    console.print(Board(console, models).render())
    assert isinstance(console.file, io.StringIO)
    titles = console.file.getvalue().splitlines()[0]
    assert all(model in titles for model in models)
