"""`weft models` and `weft version`."""

from .conftest import Weft


def test_models_are_listed_over_all_pages(weft: Weft) -> None:
    lines = weft("models").out.splitlines()
    assert [line.split()[0] for line in lines] == ["model", "base", "a", "b", "c", "d"]


def test_models_as_json_are_one_document(weft: Weft) -> None:
    listed = weft("models", "--output", "json").document
    assert [model["model"] for model in listed] == ["base", "a", "b", "c", "d"]


def test_versions_are_shown(weft: Weft) -> None:
    assert set(weft("version", "--output", "json").document) == {
        "weft",
        "python",
        "grpcio",
        "protobuf",
    }
