"""Tables that read well as they are."""

from weft.bench.markdown import align_table


def test_words_stand_left_and_figures_right() -> None:
    assert align_table(["name", "µs:"], [("a", "1.5"), ("longer", "12,345.0")]) == [
        "| name   |       µs |",
        "| ------ | -------: |",
        "| a      |      1.5 |",
        "| longer | 12,345.0 |",
    ]


def test_rule_of_a_narrow_column_has_three_signs() -> None:
    assert align_table(["a", ":"], [])[1] == "| --- | --: |"
