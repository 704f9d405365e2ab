"""Regular expressions from uploaded configs, matched under a time limit.

Python's matcher can take exponential time and holds the interpreter's lock meanwhile, so one
adapter could stop a server. Expressions that cannot backtrack are matched here; all others in a
child process that is killed when it takes too long.
"""

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

MATCH_TIMEOUT_S = 5.0

_PLAIN = re.compile(r"[\w.^$\\-]*")
_CHILD = """
import json, re, sys
request = json.load(sys.stdin)
json.dump([
    {name: match.groupdict().get("idx") for name in request["names"]
     if (match := (compiled.fullmatch if whole else compiled.match)(name))}
    for text, whole, _ in request["expressions"] for compiled in [re.compile(text)]
], sys.stdout)
"""

Matches = Mapping[str, str | None]


class Expression(NamedTuple):
    """A regular expression over module paths.

    Attributes:
        whole: It must match a path to its end, not only a beginning.
        plain: It has no repetition, so that it cannot backtrack.
    """

    text: str
    whole: bool
    plain: bool

    @property
    def compiles(self) -> bool:
        try:
            re.compile(self.text)
        except (re.error, OverflowError, RecursionError):
            return False
        return True


def whole_path(pattern: str) -> Expression:
    """PEFT's reading of a string in `target_modules` and `exclude_modules`."""
    return Expression(pattern, whole=True, plain=is_plain(pattern))


def path_end(pattern: str) -> Expression:
    """PEFT's reading of a key in `rank_pattern` and `alpha_pattern`."""
    return Expression(rf"(.*\.)?({pattern})$", whole=False, plain=is_plain(pattern))


def layer_list(pattern: str) -> Expression:
    """PEFT's reading of a name in `layers_pattern`; the group `idx` is the layer's index."""
    text = rf"(?:^|.*?\.){pattern}\.(?P<idx>\d+)\."
    return Expression(text, whole=False, plain=is_plain(pattern))


def is_plain(pattern: str) -> bool:
    return _PLAIN.fullmatch(pattern) is not None


def match_paths(
    expressions: Sequence[Expression], names: Sequence[str], *, timeout_s: float = MATCH_TIMEOUT_S
) -> list[Matches] | None:
    """Match every expression with every name.

    Returns:
        Per expression, the names that match, each with its group `idx` if there is one; None
        where that took longer than `timeout_s` in all.
    """
    if all(expression.plain for expression in expressions):
        return [_match_here(expression, names) for expression in expressions]
    return _match_in_child(expressions, names, timeout_s)


def _match_here(expression: Expression, names: Sequence[str]) -> Matches:
    compiled = re.compile(expression.text)
    match = compiled.fullmatch if expression.whole else compiled.match
    return {name: found.groupdict().get("idx") for name in names if (found := match(name))}


def _match_in_child(
    expressions: Sequence[Expression], names: Sequence[str], timeout_s: float
) -> list[Matches] | None:
    request = json.dumps({"expressions": expressions, "names": names}).encode()
    command = [sys.executable, "-I", "-S", "-c", _CHILD]
    try:
        child = subprocess.run(
            command, input=request, stdout=subprocess.PIPE, timeout=timeout_s, check=True
        )
    except subprocess.TimeoutExpired:
        return None
    matches: list[Matches] = json.loads(child.stdout)
    return matches
