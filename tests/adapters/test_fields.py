import math

import pytest

from weft.adapters.digest import Json
from weft.adapters.fields import Fields, is_integer, is_off, parse_object, printable, shorten


def test_each_wrong_field_is_one_violation_with_path_value_and_expectation() -> None:
    fields = Fields({"flag": 1, "text": [], "texts": ["a", 2], "table": [1]})
    fields.flag("flag")
    fields.text("text")
    fields.texts("texts", "names")
    fields.table("table")
    fields.integer("rank", 9, low=1, high=8)
    fields.number("alpha", math.inf)
    assert [(v.path, v.found, v.expected) for v in fields.violations] == [
        ("flag", "1", "true or false"),
        ("text", "[]", "a string or null"),
        ("texts", '["a", 2]', "names"),
        ("table", "[1]", "an object"),
        ("rank", "9", "a whole number from 1 to 8"),
        ("alpha", "Infinity", "a finite number"),
    ]


def test_right_fields_are_returned() -> None:
    fields = Fields({"flag": True, "text": "x", "texts": ["a"], "table": {"a": 1}})
    assert fields.flag("flag") is True
    assert fields.text("text") == "x"
    assert fields.texts("texts", "names") == ("a",)
    assert fields.table("table") == {"a": 1}
    assert fields.integer("rank", 8, low=1, high=8) == 8
    assert fields.number("alpha", 3) == 3.0
    assert fields.violations == []


def test_missing_fields_are_off() -> None:
    fields = Fields({})
    assert (fields.flag("f"), fields.text("t"), fields.table("p")) == (False, None, {})
    assert fields.violations == []


@pytest.mark.parametrize(("value", "off"), [(None, True), (False, True), ({}, True), ([], True)])
def test_off_values(value: Json, off: bool) -> None:
    assert is_off(value) is off


@pytest.mark.parametrize("value", [0, 0.0, "", True, [0], {"a": None}], ids=repr)
def test_values_that_are_not_off(value: Json) -> None:
    assert not is_off(value)


def test_true_is_no_whole_number() -> None:
    assert [is_integer(value) for value in (1, True, 1.0, "1")] == [True, False, False, False]


def test_long_values_and_names_are_cut() -> None:
    assert shorten("é" * 10) == '"' + "\\u00e9" * 10 + '"'
    assert len(shorten("x" * 200)) == 80
    assert printable("model.layers.0") == "model.layers.0"
    assert printable("a\x00\ud800") == "'a\\x00\\ud800'"
    assert len(printable("x" * 10_000)) == 255


def test_one_json_object_is_parsed() -> None:
    assert parse_object(b' {"a": {"b": [1]}} ') == {"a": {"b": [1]}}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"[1]", r"\[1\]"),
        (b'{"a": 1, "a": 1}', 'key "a" twice'),
        (b'{"a": [{"b": 1, "b": 2}]}', 'key "b" twice'),
        (b'{"a": ' * 100_000, "nested too deeply"),
        (b"\xff", "decode"),
        (b"{", "Expecting"),
    ],
    ids=lambda value: repr(value)[:12],
)
def test_anything_else_is_named(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_object(data)
