"""Which adapter each row uses."""

from weft.bench.cases import base_case, distinct_case, halved_case, mixed_case, shared_case


def test_rows_of_every_case() -> None:
    assert base_case(3) == ("base", (None, None, None))
    assert mixed_case(5, 2) == ("mixed", (0, 1, 0, 1, 0))
    assert shared_case(2, 1) == ("1 adapter", (1, 1))
    assert halved_case(4) == ("2 base + 2 adapted", (None, 0, None, 1))
    assert distinct_case(3) == ("3 adapters", (0, 1, 2))
