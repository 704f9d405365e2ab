"""What the kernel suite is told."""

from weft.bench.kernel_options import Slice


def test_slice_is_named_in_a_way_that_files_can_be() -> None:
    assert str(Slice(2, 5)) == "2of5"
