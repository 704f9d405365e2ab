"""Options of a record, which every suite's command takes, and what becomes of it."""

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from weft.bench.record import Invocation, Record

RESULTS = Path("bench/results")
WRONG = 1


@dataclass(frozen=True, slots=True)
class Recording:
    """Where the record of a run goes, and what it says of the machine and of the sources."""

    context: click.Context
    out: Path
    note: str
    commit: str | None

    def keep(self, run: "Callable[[Invocation, Path], Record]") -> None:
        """Run a suite, store its record and show the summary; exit with WRONG if results were.

        Args:
            run: Gets an empty folder, which goes at the end.
        """
        from weft.bench.errors import BenchError
        from weft.bench.machine import find_source
        from weft.bench.record import Invocation
        from weft.bench.record_file import store_record
        from weft.bench.table import write_summary

        command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
        try:
            invocation = Invocation(command, find_source(self.commit), self.note)
            with TemporaryDirectory(prefix="weft-bench-") as folder:
                record = run(invocation, Path(folder))
        except (BenchError, ValueError) as error:
            raise click.ClickException(str(error)) from error
        path = store_record(record, self.out)
        click.echo(write_summary(record), nl=False)
        click.echo(f"record: {path}")
        if not record.holds:
            self.context.exit(WRONG)


def recorded(function: Callable[..., None]) -> Callable[..., None]:
    """Take the options of a record, and hand them over as `recording`."""

    @click.option(
        "--out",
        type=click.Path(file_okay=False, path_type=Path),
        default=RESULTS,
        show_default=True,
        help="Folder for the record.",
    )
    @click.option("--conditions", "note", default="", help="What to record of the machine's state.")
    @click.option("--commit", help="What ran, where the sources lie in no git repository.")
    @click.pass_context
    @wraps(function)
    def command(
        context: click.Context, /, out: Path, note: str, commit: str | None, **options: object
    ) -> None:
        function(**options, recording=Recording(context, out, note, commit))

    return command


def say(line: str) -> None:
    """Tell how far a suite is."""
    click.echo(line, err=True)
