"""The laws of arrivals, lengths and popularity: means, variations, shares."""

from pathlib import Path

import numpy as np
import pytest

from weft.bench.serving.traffic import MAX_PROMPT, Azure, Uniform, draw_places, draw_times


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("cv", [1.0, 4.0])
def test_gaps_have_their_mean_and_variation(cv: float) -> None:
    times = draw_times(50, 4000, cv=cv, draw=generator())
    gaps = np.diff(times)
    assert times.max() < 4000
    assert gaps.mean() == pytest.approx(1 / 50, rel=0.05)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.05)


def test_uniform_lengths_keep_their_bounds_and_mean() -> None:
    prompts, outputs = Uniform((8, 512), (16, 17)).draw(20_000, generator())
    assert (prompts.min(), prompts.max()) == (8, 511)
    assert prompts.mean() == pytest.approx(259.5, rel=0.02)
    assert set(outputs.tolist()) == {16}


def test_quantiles_of_the_trace_come_out_again() -> None:
    prompts, outputs = Azure().draw(100_000, generator())
    assert np.percentile(prompts, [25, 50, 90]) == pytest.approx([396, 1020, 2734], rel=0.05)
    assert np.percentile(outputs, [25, 50, 90]) == pytest.approx([85, 129, 424], rel=0.05)
    assert prompts.max() <= MAX_PROMPT
    assert prompts.mean() == pytest.approx(1155, rel=0.1)
    assert outputs.mean() == pytest.approx(211, rel=0.15)


def test_pairs_of_a_trace_stay_pairs(tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\nx,10,1\ny,20000,2\nz,30,0\n")
    prompts, outputs = Azure(file).draw(100, generator())
    assert set(zip(prompts.tolist(), outputs.tolist(), strict=True)) == {(10, 1), (MAX_PROMPT, 2)}


def test_another_file_is_no_trace(tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="no columns ContextTokens"):
        Azure(file).draw(1, generator())


@pytest.mark.parametrize(
    ("num", "alpha", "largest", "ten"),
    [(100, "0.9", 16, 50), (100, "1.2", 28, 68), (1000, "0.9", 10, 31), (1000, "1.2", 23, 57)],
)
def test_zipf_has_its_shares(num: int, alpha: str, largest: int, ten: int) -> None:
    places = draw_places(f"zipf {alpha}", 200_000, num, generator())
    counts = np.sort(np.bincount(places, minlength=num))[::-1] / len(places)
    assert 100 * counts[0] == pytest.approx(largest, abs=0.7)
    assert 100 * counts[:10].sum() == pytest.approx(ten, abs=0.7)


def test_popularity_says_nothing_of_the_place() -> None:
    tops = {
        int(np.bincount(draw_places("zipf 1.2", 500, 50, generator(seed))).argmax())
        for seed in range(20)
    }
    assert len(tops) > 10


def test_distinct_goes_round_and_uniform_reaches_everybody() -> None:
    assert draw_places("distinct", 5, 3, generator()).tolist() == [0, 1, 2, 0, 1]
    assert set(draw_places("uniform", 500, 7, generator()).tolist()) == set(range(7))
    assert set(draw_places("identical", 9, 3, generator()).tolist()) == {0}
    with pytest.raises(ValueError, match="popularity 'twice' is not known"):
        draw_places("twice", 1, 1, generator())
