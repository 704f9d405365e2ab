"""What a soak is made of. It runs for minutes, so no test runs it."""

from weft.bench.shapes import SHAPES
from weft.bench.soak.suite import KV_BYTES, NUM_CLIENTS, SHAPE, make_cells, soak_setting
from weft.bench.soak.watch import Holding, Rest


def test_arena_is_smaller_than_the_working_set() -> None:
    setting = soak_setting()
    needed = sum(spec.image_bytes(SHAPES[SHAPE]) for spec in setting.adapters)
    assert setting.arena_bytes < 0.7 * needed  # which takes twice the bytes in float32
    assert len(setting.cold) > 1
    assert len(setting.arena_images) < NUM_CLIENTS


def test_kv_cache_is_smaller_than_what_all_clients_ask_for() -> None:
    shape = SHAPES[SHAPE]
    token_bytes = 4 * 2 * shape.num_layers * shape.num_kv_heads * 16
    assert KV_BYTES / token_bytes < NUM_CLIENTS * 300


def test_every_rest_is_a_sample() -> None:
    rests = [Rest({"front": Holding(1.5 + i, 9, 1)}, {"front": 1}, {}, 0.0) for i in range(3)]
    [rss, files] = make_cells(rests)
    assert (rss.contender, rss.unit, rss.samples) == ("front", "MiB", [1.5, 2.5, 3.5])
    assert files.samples == [9, 9, 9]
