"""The key schema."""

import inspect
import re
from collections.abc import Callable

from weft.adapters import keys

TAG = re.compile(r"\{([^}]*)\}")


def test_all_metadata_is_in_one_cluster_slot_and_chunks_spread() -> None:
    constants = [value for name, value in vars(keys).items() if name.isupper() and name != "ROOT"]
    assert all(tag(key) == "m" and key.startswith("weft:1:") for key in constants)
    for name, function in key_functions():
        key = function(*example(function))
        assert key.startswith("weft:1:"), name
        assert tag(key) == ("ab12" if name.endswith("chunk") else "m"), name


def test_no_two_functions_make_the_same_key() -> None:
    made = [function(*example(function)) for _, function in key_functions()]
    assert len(set(made)) == len(made)


def test_a_queue_is_named_by_twelve_digits_of_the_base() -> None:
    key = keys.queue("sha256:0123456789abcdef", "normal")
    assert key == "weft:1:{m}:q:0123456789ab:normal"


def key_functions() -> list[tuple[str, Callable[..., str]]]:
    found = inspect.getmembers(keys, inspect.isfunction)
    return [(name, function) for name, function in found if name != "queue_base"]


def example(function: object) -> list[str | int]:
    assert callable(function)
    parameters = inspect.signature(function).parameters
    return [3 if name == "index" else "ab12" for name in parameters]


def tag(key: str) -> str | None:
    found = TAG.search(key)
    return found and found[1]
