"""The Lua scripts in `scripts/`: every write of more than one key.

A script sees its keys as `K.name` and its arguments as `A.name`, and answers `{'OK', JSON}` or
`{class of an error, JSON of its message and metadata}`.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import redis.asyncio

from . import errors
from .digest import Json as Json

FOLDER = Path(__file__).parent / "scripts"


class Script:
    """The files `parts`, joined after `common.lua`: shared functions first, then the body."""

    def __init__(self, redis: redis.asyncio.Redis, *parts: str) -> None:
        self.name = parts[-1]
        text = "\n".join((FOLDER / f"{part}.lua").read_text() for part in ("common", *parts))
        self._script = redis.register_script(text)

    async def __call__(self, keys: Mapping[str, str], **args: Json) -> bytes:
        """Run it and answer its JSON.

        Raises:
            AdapterError: The script refused, and has changed nothing.
        """
        given = {name: value for name, value in args.items() if value is not None}
        code: bytes
        body: bytes
        code, body = await self._script(
            keys=list(keys.values()),
            args=[msgspec.json.encode(list(keys)), msgspec.json.encode(given)],
        )
        if code != b"OK":
            raise _refusal(code.decode(), body)
        return body


def _refusal(code: str, body: bytes) -> errors.AdapterError:
    error: type[errors.AdapterError] = getattr(errors, code)
    assert issubclass(error, errors.AdapterError), code
    metadata = msgspec.json.decode(body, type=dict[str, str | int | float])
    message = str(metadata.pop("message"))
    return error(message, **{name: _whole(value) for name, value in metadata.items()})


def _whole(value: str | int | float) -> str | int:
    return int(value) if isinstance(value, float) else value
