"""Answers of several models to one prompt, side by side while they arrive."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.columns import Columns
from rich.console import Console, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.text import Text


class Board:
    """Columns that grow on a terminal; elsewhere one line per model when its answer is whole."""

    def __init__(self, console: Console, models: Sequence[str]) -> None:
        self._console = console
        self._texts = dict.fromkeys(models, "")
        self._live = Live(get_renderable=self.render, console=console, refresh_per_second=12)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def add(self, model: str, text: str) -> None:
        """Let an answer grow."""
        self._texts[model] += text

    def finish(self, model: str) -> None:
        """Note that an answer is whole."""
        if not self._console.is_terminal:
            self._console.print(f"  {model}: {self._texts[model]}", markup=False, soft_wrap=True)

    def render(self) -> RenderableType:
        """Draw one panel per model, all of one width."""
        width = max(18, self._console.width // len(self._texts))
        return Columns(
            [Panel(Text(text), title=model, width=width) for model, text in self._texts.items()],
            padding=0,
        )
