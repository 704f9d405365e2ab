"""Scripts: their answers, their refusals, and that a new server learns them."""

from pathlib import Path

import pytest
import redis.asyncio

from weft.adapters import keys
from weft.adapters.errors import VersionNotFound
from weft.adapters.lua import FOLDER, Script

SET_ALIAS = {
    "request": keys.request("acme", "one"),
    "versions": keys.versions("acme", "support"),
    "aliases": keys.aliases("acme", "support"),
}


async def test_a_refusal_is_the_error_that_it_names(redis_client: redis.asyncio.Redis) -> None:
    script = Script(redis_client, "alias", "set_alias")
    with pytest.raises(VersionNotFound, match="support has no version 7"):
        await script(SET_ALIAS, adapter="support", alias="prod", version=7, fingerprint="f")
    assert await redis_client.dbsize() == 0


async def test_a_server_that_forgot_its_scripts_learns_them_again(
    redis_client: redis.asyncio.Redis,
) -> None:
    script = Script(redis_client, "touch_blobs")
    await script({"blobs": keys.BLOBS}, digests=[])
    await redis_client.script_flush()
    assert b"now_ms" in await script({"blobs": keys.BLOBS}, digests=[])


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.lua")), ids=lambda path: path.stem)
def test_no_script_makes_a_key_of_its_own(path: Path) -> None:
    assert keys.ROOT not in path.read_text()
