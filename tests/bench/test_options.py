"""What does not fit a shape."""

from dataclasses import replace

import pytest

from .beds import TINY


def test_sequence_longer_than_the_shape_admits_is_refused() -> None:
    with pytest.raises(ValueError, match="520 tokens exceed the shape's 512"):
        replace(TINY, prompt_tokens=512)
