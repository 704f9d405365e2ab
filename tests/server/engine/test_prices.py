"""What service costs."""

from .plans import PRICES


def test_price_of_a_chunk_and_of_decodes() -> None:
    assert PRICES.service_us(10, 0, context=30, elements=0) == 10 * 1.0 + 30 * 0.5
    assert PRICES.service_us(0, 4, context=30, elements=6) == 4 * (2.0 + 30 * 0.5 + 6 * 0.25)
    assert PRICES.service_us(10, 1, context=30, elements=0) == 10 + 2 + 2 * 30 * 0.5
