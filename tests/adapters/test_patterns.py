import re
import time

import pytest

from weft.adapters.patterns import (
    Expression,
    Matches,
    is_plain,
    layer_list,
    match_paths,
    path_end,
    whole_path,
)

NAMES = ("model.layers.0.q_proj", "model.layers.10.q_proj", "model.layers.0.v_proj", "lm_head")


def match(expressions: list[Expression]) -> list[Matches]:
    matches = match_paths(expressions, NAMES)
    assert matches is not None
    return matches


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("lm_head", {"lm_head"}),
        ("q_proj", set()),
        ("model", set()),
        (r".*\.q_proj", {"model.layers.0.q_proj", "model.layers.10.q_proj"}),
        (r".*\.0\.(q|v)_proj", {"model.layers.0.q_proj", "model.layers.0.v_proj"}),
        ("model.layers.0.q_proj", {"model.layers.0.q_proj"}),
    ],
)
def test_a_whole_path_matches_from_end_to_end(pattern: str, names: set[str]) -> None:
    (matches,) = match([whole_path(pattern)])
    assert set(matches) == names


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("q_proj", {"model.layers.0.q_proj", "model.layers.10.q_proj"}),
        ("proj", set()),
        ("0.q_proj", {"model.layers.0.q_proj"}),
        ("^model.layers.0.q_proj", {"model.layers.0.q_proj"}),
        (r"layers\.\d+\.v_proj", {"model.layers.0.v_proj"}),
        ("q_proj|v_proj", set(NAMES[:3])),
    ],
)
def test_a_path_end_begins_at_a_dot(pattern: str, names: set[str]) -> None:
    (matches,) = match([path_end(pattern)])
    assert set(matches) == names


def test_a_layer_list_answers_the_index() -> None:
    first, second = match([layer_list("layers"), layer_list("lay.*")])
    assert first == {NAMES[0]: "0", NAMES[1]: "10", NAMES[2]: "0"}
    assert second == first


def test_an_alternative_without_an_index_answers_none() -> None:
    (matches,) = match([layer_list("model|layers")])
    assert matches[NAMES[0]] is None


@pytest.mark.parametrize("pattern", ["(", "[", "(?P<idx>a)", "a{2,1}"])
def test_a_broken_expression_does_not_compile(pattern: str) -> None:
    assert not layer_list(pattern).compiles


def test_here_and_in_a_child_the_answer_is_the_same() -> None:
    plain = [path_end("q_proj"), whole_path("lm_head"), layer_list("layers")]
    assert all(expression.plain for expression in plain)
    assert match(plain) == match([*plain, whole_path(".*")])[:3]


def test_an_expression_that_backtracks_for_ever_is_stopped() -> None:
    evil = whole_path(r"(\w+\.?)+!")
    started = time.monotonic()
    assert match_paths([evil], ["model.layers.0.self_attn.q_proj" * 4], timeout_s=0.3) is None
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("pattern", ["q_proj", "^model.layers.0$", r"a\.b-c", ""])
def test_plain_patterns_have_no_repetition(pattern: str) -> None:
    assert is_plain(pattern)
    assert not re.search(r"[*+{?|(]", pattern)


@pytest.mark.parametrize("pattern", ["a*", "a+", "a{2}", "a?", "(a)", "a|b", "[ab]"])
def test_any_other_pattern_is_not_plain(pattern: str) -> None:
    assert not is_plain(pattern)
