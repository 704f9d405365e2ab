"""Typed access to the fields of a JSON object; a field of another type becomes a violation."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeGuard

from .digest import Json
from .errors import Violation

MAX_SHOWN = 80
MAX_NAME = 255


@dataclass(slots=True)
class Fields:
    """A JSON object that is read field by field; `violations` grows with each wrong value."""

    raw: dict[str, Json]
    violations: list[Violation] = field(default_factory=list)

    def refuse(self, code: str, path: str, value: Json, expected: str) -> None:
        self.violations.append(Violation(code, printable(path), shorten(value), expected))

    def flag(self, key: str) -> bool:
        value = self.raw.get(key, False)
        if not isinstance(value, bool):
            self.refuse("CONFIG_VALUE", key, value, "true or false")
        return value is True

    def text(self, key: str) -> str | None:
        """Return the string; None where it is missing, null or empty."""
        value = self.raw.get(key)
        if value is None or isinstance(value, str):
            return value or None
        self.refuse("CONFIG_VALUE", key, value, "a string or null")
        return None

    def texts(self, key: str, expected: str) -> tuple[str, ...]:
        value = self.raw.get(key)
        if isinstance(value, list | tuple):
            texts = [item for item in value if isinstance(item, str)]
            if len(texts) == len(value):
                return tuple(texts)
        self.refuse("CONFIG_VALUE", key, value, expected)
        return ()

    def table(self, key: str) -> dict[str, Json]:
        """Return the object; empty where it is missing or null."""
        value = self.raw.get(key)
        if value is None or isinstance(value, dict):
            return value or {}
        self.refuse("CONFIG_VALUE", key, value, "an object")
        return {}

    def integer(self, path: str, value: Json, *, low: int, high: int) -> int:
        if is_integer(value) and low <= value <= high:
            return value
        self.refuse("CONFIG_VALUE", path, value, f"a whole number from {low} to {high}")
        return low

    def number(self, path: str, value: Json) -> float:
        if isinstance(value, float) or is_integer(value):
            try:
                number = float(value)
            except OverflowError:
                number = math.inf
            if math.isfinite(number):
                return number
        self.refuse("CONFIG_VALUE", path, value, "a finite number")
        return 0.0


def parse_object(data: bytes) -> dict[str, Json]:
    """Parse one JSON object, in which no object has a key twice.

    Raises:
        ValueError: It is anything else; the message says what.
    """
    try:
        value: Json = json.loads(data.decode(), object_pairs_hook=_unique_keys)
    except RecursionError as err:
        raise ValueError("nested too deeply") from err
    if not isinstance(value, dict):
        raise ValueError(shorten(value))
    return value


def _unique_keys(pairs: Sequence[tuple[str, Json]]) -> dict[str, Json]:
    unique: dict[str, Json] = {}
    for key, value in pairs:
        if key in unique:
            raise ValueError(f"key {shorten(key)} twice")
        unique[key] = value
    return unique


def is_integer(value: Json) -> TypeGuard[int]:
    """Say whether `value` is a whole number; JSON's true and false are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_off(value: Json) -> bool:
    """Say whether `value` is null, false, `{}` or `[]`."""
    return value is None or value is False or (isinstance(value, dict | list) and not value)


def shorten(value: Json) -> str:
    """Show a value as JSON in at most 80 ASCII characters."""
    text = json.dumps(value)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."


def printable(name: str) -> str:
    """Show a name from outside: as it is if it can be printed, escaped and cut off if not."""
    return name if name.isprintable() and len(name) <= MAX_NAME else ascii(name)[:MAX_NAME]
