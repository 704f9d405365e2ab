"""The failure of a task group, out of the group."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ungrouped(kind: type[Exception]) -> Iterator[None]:
    """Raise the first failure of the task group inside by itself, if it is one of `kind`.

    Not `except*`: before Python 3.11.4 what is raised in one comes out in a group again.
    """
    try:
        yield
    except ExceptionGroup as group:
        first = group.exceptions[0]
        if not isinstance(first, kind):
            raise
        raise first from None
