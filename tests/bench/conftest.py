"""A tiny engine under test, shared by tests that leave it as they found it."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from weft.bench.bed import Bed

from .beds import make_tiny_bed


@pytest.fixture(scope="session")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    bed = make_tiny_bed(tmp_path_factory.mktemp("bed"))
    with closing(bed.driver):
        yield bed
