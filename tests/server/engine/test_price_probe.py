"""The price list of a tiny model."""

from dataclasses import astuple

from weft.server.engine.price_probe import measure_prices

from .worlds import World


def test_every_price_is_above_nothing_and_keeps_its_proportion(world: World) -> None:
    prices = measure_prices(world.model)
    assert min(astuple(prices)) > 0
    kv_elements = 2 * 2 * 2 * 16  # layers, keys and values, heads, features
    assert abs(prices.kv_us / prices.element_us - kv_elements) < 1e-6 * kv_elements
    assert prices.decode_us > prices.element_us
    assert prices.cached_us < prices.prefill_us
