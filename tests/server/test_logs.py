"""Log lines: one per record, for people or for machines."""

import json
import logging
import subprocess
import sys

import pytest

from weft.server.logs import JsonFormatter, TextFormatter, configure_logging


def record(*, failed: bool = False, **fields: object) -> logging.LogRecord:
    found = None
    if failed:
        try:
            raise KeyError("x")
        except KeyError:
            found = sys.exc_info()
    made = logging.LogRecord("weft.x", logging.INFO, "f.py", 1, "moved %d", (3,), found)
    made.created, made.msecs = 1.5, 500.0
    if fields:
        made.fields = fields
    return made


def test_json_has_the_fields_beside_the_rest() -> None:
    assert json.loads(JsonFormatter().format(record(tenant="acme", ms=1.5))) == {
        "time": "1970-01-01T00:00:01.500Z",
        "level": "INFO",
        "logger": "weft.x",
        "message": "moved 3",
        "tenant": "acme",
        "ms": 1.5,
    }


def test_json_is_one_line_even_with_a_traceback() -> None:
    line = JsonFormatter().format(record(failed=True))
    assert "\n" not in line
    assert "KeyError" in json.loads(line)["traceback"]


def test_text_has_the_fields_after_the_message() -> None:
    line = TextFormatter().format(record(tenant="acme", ms=1.5))
    assert line.endswith("INFO weft.x: moved 3 tenant=acme ms=1.5")
    assert TextFormatter().format(record()).endswith("INFO weft.x: moved 3")


def test_a_text_of_many_words_or_lines_stays_one_field() -> None:
    line = TextFormatter().format(record(id="a b", model="x\nforged=1", quote='"', empty=""))
    assert line.endswith(r'moved 3 id="a b" model="x\nforged=1" quote="\"" empty=')
    assert "\n" not in line


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match="'xml' is not one of text, json"):
        configure_logging("xml")


CONFIGURED = """
import logging
from weft.server.logs import configure_logging
configure_logging("json")
logging.getLogger("weft.x").info("here", extra={"fields": {"a": 1}})
logging.getLogger("weft.x").debug("not here")
logging.getLogger("httpx").info("nor here")
"""


def test_lines_go_to_stderr_once_configured() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", CONFIGURED], capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout == ""
    [line] = ended.stderr.splitlines()
    assert json.loads(line)["a"] == 1
