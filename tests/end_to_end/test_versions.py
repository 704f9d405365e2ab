"""Names move at once, running sequences stay, and what is cached belongs to one content."""

from pathlib import Path

import pytest

from tests.tiny import save_tiny_adapter
from weft.client import Answer, AsyncClient, WeftError

from .adapters import Family
from .generating import (
    LONG,
    NUM_TOKENS,
    PROMPT,
    assert_same,
    digest,
    greedy,
    streaming,
    token_ids,
)
from .reference import Reference

HUNDRED = list(range(10, 110))
BLOCK_TOKENS = 16


def adapter(llama: Family, folder: Path, *, seed: int) -> Path:
    return save_tiny_adapter(llama.base, folder / f"v{seed}", seed=seed)


async def test_new_requests_get_a_new_version_and_running_ones_finish_on_theirs(
    llama: Family, tmp_path: Path
) -> None:
    folders = [adapter(llama, tmp_path, seed=seed) for seed in (101, 102)]
    async with AsyncClient(llama.server.address) as weft:
        first = await weft.publish("moving", folders[0], assert_base=True)
        async with streaming(weft, "moving", LONG) as stream:
            second = await weft.publish("moving", folders[1], assert_base=True)
            new = await greedy(weft, "moving", PROMPT)
            assert stream.is_running
            running = await stream.finish()
        old = await greedy(weft, "moving@1", PROMPT, LONG)

    assert first.digest != second.digest
    assert digest(running) == first.digest
    assert digest(new) == second.digest
    assert_same(running, old, "the stream that was running")
    wanted = Reference(llama.base, folders[1]).generate(PROMPT, NUM_TOKENS)
    assert token_ids(new) == wanted.tokens


async def test_an_alias_moves_and_rolls_back(llama: Family, tmp_path: Path) -> None:
    async with AsyncClient(llama.server.address) as weft:
        versions = [
            await weft.publish(
                "aliased", adapter(llama, tmp_path, seed=seed), assert_base=True, aliases=aliases
            )
            for seed, aliases in ((103, ["prod"]), (104, []))
        ]
        digests = [version.digest for version in versions]
        assert digest(await greedy(weft, "aliased:prod", [5])) == digests[0]
        assert digest(await greedy(weft, "aliased", [5])) == digests[1]
        await weft.set_alias("aliased", "prod", 2)
        moved = await greedy(weft, "aliased:prod", [5])
        await weft.rollback("aliased", "prod")
        back = await greedy(weft, "aliased:prod", [5])
        by_digest = await greedy(weft, digests[1], [5])
    assert digest(moved) == digests[1]
    assert digest(back) == digests[0]
    assert token_ids(back) != token_ids(moved)
    assert_same(by_digest, moved, "by digest")


async def test_a_prefix_is_computed_once_for_one_content_and_never_for_another(
    llama: Family, tmp_path: Path
) -> None:
    folders = [adapter(llama, tmp_path, seed=seed) for seed in (105, 106)]
    async with AsyncClient(llama.server.address) as weft:
        await weft.publish("prefix", folders[0], assert_base=True)
        first, again = [await greedy(weft, "prefix", HUNDRED) for _ in range(2)]
        base = await greedy(weft, "base", HUNDRED)
        await weft.publish("prefix", folders[1], assert_base=True)
        republished = await greedy(weft, "prefix", HUNDRED)
        await weft.publish("prefix-twin", folders[0], assert_base=True)
        twin = await greedy(weft, "prefix-twin", HUNDRED)

    assert [cached(a) for a in (first, base, republished)] == [0, 0, 0]
    assert cached(again) == len(HUNDRED) // BLOCK_TOKENS * BLOCK_TOKENS
    assert cached(twin) == cached(again)
    assert_same(again, first, "from the cache")
    for answer, folder in ((first, folders[0]), (base, None), (republished, folders[1])):
        wanted = Reference(llama.base, folder).generate(HUNDRED, NUM_TOKENS)
        assert token_ids(answer) == wanted.tokens, folder


def cached(answer: Answer) -> int:
    assert answer.usage is not None
    return answer.usage.cached_tokens


async def test_a_retired_version_is_hidden_and_what_runs_on_it_finishes(
    llama: Family, tmp_path: Path
) -> None:
    folder = adapter(llama, tmp_path, seed=107)
    async with AsyncClient(llama.server.address) as weft:
        await weft.publish("leaving", folder, assert_base=True, latest=False)
        async with streaming(weft, "leaving@1", LONG) as stream:
            await weft.retire("leaving@1")
            with pytest.raises(WeftError) as refused:
                await greedy(weft, "leaving@1", PROMPT)
            assert stream.is_running
            running = await stream.finish()
    assert refused.value.reason == "VERSION_RETIRED"
    wanted = Reference(llama.base, folder).generate(PROMPT, 50)
    assert token_ids(running)[:50] == wanted.tokens
    assert len(token_ids(running)) == LONG
