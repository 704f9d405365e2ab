"""Options of suites that have many cases, and run some of them."""

from pathlib import Path

import click

from weft.bench.kernel_options import Slice

DTYPES = ["float32", "float16", "bfloat16"]
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class SliceOf(click.ParamType[Slice]):
    """Which slice of how many, as `1/4`."""

    name = "i/n"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Slice:
        first, _, num = str(value).partition("/")
        if not (first.isdecimal() and num.isdecimal() and 1 <= int(first) <= int(num)):
            self.fail(f"{value!r} is not i/n with 1 <= i <= n", param, ctx)
        return Slice(int(first), int(num))


slice_option = click.option(
    "--slice", "part", type=SliceOf(), default="1/1", help="Every nth case from the ith."
)
minutes_option = click.option(
    "--minutes", type=click.FloatRange(0), default=9, show_default=True, help="No case later."
)
done_option = click.option(
    "--done", type=FILE, multiple=True, help="A record whose cases need not run again."
)


def cases_of(paths: tuple[Path, ...]) -> set[str]:
    """The cases that records have.

    Raises:
        ClickException: A file is no record.
    """
    from weft.bench.record_file import read_record

    try:
        return {cell.case for path in paths for cell in read_record(path).cells}
    except ValueError as error:
        raise click.ClickException(str(error)) from error
