"""Text as it streams."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from tests.tiny import tiny_tokenizer
from weft.server.rpc.detokenizer import Detokenizer

TOKENIZER: Tokenizer = tiny_tokenizer().backend_tokenizer


def stream(text: str, **options: Sequence[str] | bool) -> tuple[list[str], str | None]:
    detokenizer = Detokenizer(TOKENIZER, **options)  # type: ignore[arg-type]
    pieces = []
    for token in TOKENIZER.encode(text, add_special_tokens=False).ids:
        piece = detokenizer.push(token)
        pieces.append(piece.text)
        if piece.stop is not None:
            return pieces, piece.stop
    pieces.append(detokenizer.finish())
    return pieces, None


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_pieces_join_to_the_whole_text(text: str) -> None:
    ids = TOKENIZER.encode(text, add_special_tokens=False).ids
    pieces, stop = stream(text)
    assert "".join(pieces) == TOKENIZER.decode(ids)
    assert stop is None


def test_a_character_of_many_tokens_is_shown_once_and_whole() -> None:
    pieces, _ = stream("a🧶b")
    assert [piece for piece in pieces if piece] == ["a", "🧶", "b"]


def test_an_incomplete_character_at_the_end_is_not_lost() -> None:
    detokenizer = Detokenizer(TOKENIZER)
    for token in TOKENIZER.encode("🧶", add_special_tokens=False).ids[:-1]:
        assert detokenizer.push(token).text == ""
    assert set(detokenizer.finish()) == {"�"}


@pytest.mark.parametrize(
    ("include", "expected"), [(False, "the quick "), (True, "the quick brown fox")]
)
def test_a_stop_string_over_many_tokens_ends_the_text(include: bool, expected: str) -> None:
    pieces, stop = stream("the quick brown fox jumps", stop=["brown fox"], include_stop=include)
    assert ("".join(pieces), stop) == (expected, "brown fox")


def test_the_earliest_stop_string_wins() -> None:
    pieces, stop = stream("one two three", stop=["three", "two"])
    assert ("".join(pieces), stop) == ("one ", "two")


def test_text_that_only_began_a_stop_string_is_given_after_all() -> None:
    pieces, stop = stream("the quack", stop=["quick"])
    assert ("".join(pieces), stop) == ("the quack", None)
    pieces, stop = stream("the qui", stop=["quick"])
    assert ("".join(pieces), stop) == ("the qui", None)


@given(st.text("ab", max_size=30), st.text("ab", min_size=1, max_size=4))
def test_no_text_of_a_stop_string_leaks(text: str, stop: str) -> None:
    pieces, found = stream(text, stop=[stop])
    before, match, _ = text.partition(stop)
    assert "".join(pieces) == before
    assert (found is not None) == bool(match)


def test_a_stop_string_that_comes_too_early_is_text() -> None:
    detokenizer = Detokenizer(TOKENIZER, stop=["fox"])
    ids = TOKENIZER.encode("the fox the fox", add_special_tokens=False).ids
    early = len(TOKENIZER.encode("the fox", add_special_tokens=False).ids)
    pieces = [detokenizer.push(token, may_stop=n >= early) for n, token in enumerate(ids)]
    assert "".join(piece.text for piece in pieces) == "the fox the "
    assert [piece.stop for piece in pieces if piece.stop] == ["fox"]
