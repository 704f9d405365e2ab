"""Both faces have every operation, and need neither a server nor torch to be imported."""

import asyncio
import inspect
import subprocess
import sys

import pytest

from weft.client import AsyncClient, Client
from weft.client.faces import Operations, finish

from .service import State

WITHOUT_SERVER = """
import sys
for name in ("torch", "numpy", "transformers", "redis"):
    sys.modules[name] = None
from weft.client import Client
with Client("localhost:1", api_key="weft_secret") as weft:
    assert "weft_secret" not in repr(weft) + repr(weft.operations)
"""


def operations(kind: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(kind, callable) if not name.startswith("_")}


def test_both_faces_have_every_operation() -> None:
    assert operations(Client) == operations(AsyncClient) - {"follow", "send_missing"}


def test_a_blocking_operation_says_the_same_of_itself() -> None:
    for name in operations(Client):
        operation = inspect.unwrap(getattr(Client, name))
        assert operation is getattr(Operations, name), name
        assert operation.__doc__, name


def test_the_client_imports_without_what_the_server_needs() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT_SERVER], check=True, timeout=60)


async def test_the_blocking_face_works_inside_a_running_loop(address: str) -> None:
    """Notebooks run one."""
    with Client(address) as weft:
        assert weft.complete("support", text="hi").text == "hi "


async def test_leaving_a_stream_inside_a_running_loop_cancels_it_at_once(
    address: str, state: State
) -> None:
    with Client(address) as weft:
        stream = weft.generate("endless", text="go")
        assert next(stream).text == "on "
        stream.close()
        assert state.cancelled.wait(10)


def test_a_coroutine_that_suspends_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError, match="has suspended"):
        finish(asyncio.sleep(0))
