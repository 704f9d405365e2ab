"""`weft bench report`."""

from pathlib import Path

import click

from .case_options import FILE
from .recording import RESULTS


@click.command("report")
@click.argument("records", nargs=-1, type=FILE)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the record that slices make together.",
)
def report(records: tuple[Path, ...], out: Path | None) -> None:
    """Show stored RECORDS: none lists them all; one gets its table and plot anew; slices of a run
    become one record; two others are compared, figure by figure."""
    from weft.bench.record_file import derive_files, read_record, store_record
    from weft.bench.report import are_slices, compare_records, list_records, merge_slices
    from weft.bench.table import write_summary

    try:
        stored = [read_record(path) for path in records]
        if not stored:
            click.echo(list_records(RESULTS), nl=False)
        elif len(stored) == 1:
            derive_files(stored[0], records[0])
            click.echo(write_summary(stored[0]), nl=False)
        elif are_slices(stored):
            whole = merge_slices(stored)
            click.echo(write_summary(whole), nl=False)
            if out is not None:
                click.echo(f"record: {store_record(whole, out)}")
        elif len(stored) == 2:
            click.echo(compare_records(*stored), nl=False)
        else:
            raise click.UsageError("more than two records, and not slices of one run")
    except ValueError as error:
        raise click.ClickException(str(error)) from error
