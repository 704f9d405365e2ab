"""Text is laid out in columns, and JSON is whole."""

import json
import os
import sys

import pytest

from weft.client import Progress
from weft.protos.v1 import types_pb2
from weft.server.commands.terminal import (
    Terminal,
    columns,
    document_of,
    pairs,
    short,
    size,
    when,
    word,
)


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert columns(("a", "b"), [("long", 1), ("x", 22)]) == ["a     b", "long  1", "x     22"]


def test_columns_without_rows_show_their_header() -> None:
    assert columns(("model", "kind"), []) == ["model  kind"]


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal(json=True).show({"ü": [1]}, ["text"])
    assert capsys.readouterr().out == '{"ü": [1]}\n'


def test_text_is_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal().show({"a": 1}, ["one", "two"])
    assert capsys.readouterr().out == "one\ntwo\n"


def test_a_note_goes_beside_the_result_and_can_be_silenced(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Terminal().note("loading")
    Terminal(quiet=True).note("nothing")
    assert capsys.readouterr() == ("", "loading\n")


def test_a_document_has_every_field_under_its_own_name() -> None:
    document = document_of(types_pb2.Alias(alias="prod", version=7))
    assert document["version"] == 7
    assert document["generation"] == 0
    assert "previous_version" not in document, "absent is not 0"
    json.dumps(document)


def test_progress_is_drawn_on_terminals_only(capsys: pytest.CaptureFixture[str]) -> None:
    with Terminal().transfers() as on_progress:
        on_progress(Progress("file", 1, 2))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("quiet", "drawn"), [(False, True), (True, False)])
def test_progress_is_drawn_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, quiet: bool, drawn: bool
) -> None:
    master, slave = os.openpty()
    with os.fdopen(slave, "w") as screen:
        monkeypatch.setattr(sys, "stderr", screen)
        with Terminal(quiet=quiet).transfers() as on_progress:
            on_progress(Progress("weights", 1, 2))
            on_progress(Progress("weights", 2, 2))
        screen.write("end")
        screen.flush()
        text = b""
        while not text.endswith(b"end"):  # a terminal hands over what it has, in parts
            text += os.read(master, 4096)
    os.close(master)
    assert (b"weights" in text) is drawn


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 20, "5.0 MiB"), (3 << 30, "3.0 GiB")],
)
def test_sizes_have_units(num_bytes: int, text: str) -> None:
    assert size(num_bytes) == text


def test_words_for_people() -> None:
    assert word("JOB_STATE_RUNNING", "JOB_STATE_") == "running"
    assert short("sha256:" + "a1" * 32) == "a1" * 6
    assert when(0) == ""
    assert when(86_400_000) == "1970-01-02 00:00:00"
    assert pairs({"b": "2", "a": "1"}) == "a=1,b=2"
