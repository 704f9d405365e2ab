"""From the keys of an adapter file to modules of the base: exact names, nothing guessed."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import NamedTuple

from .errors import Violation
from .fields import printable
from .sites import BaseFacts
from .targets import unsupported

WRAPPERS = frozenset({"_orig_mod", "module", "_checkpoint_wrapped_module", "_fsdp_wrapped_module"})
MAX_NEAREST = 16
KEY = "module, lora_A or lora_B, weight"

_HALF = re.compile(
    r"(?P<prefix>base_model\.model\.)?(?P<module>.+)\.lora_(?P<letter>[AB])"
    r"(?:\.(?P<adapter>[^.]+))?\.weight"
)
_FEATURE = re.compile(r"lora_magnitude_vector|lora_[AB](\.[^.]+)?\.bias|modules_to_save")
_WHOLE = re.compile(
    r"(?:base_model\.model\.)?(?P<module>.+?)"
    r"(?:(?:\.base_layer)?\.(?:weight|bias)|\.lora_embedding_[AB](?:\..+)?)"
)


class Half(NamedTuple):
    """What a key says: whose A or B it is, and the form that all keys of a file share."""

    module: str
    letter: str
    form: tuple[bool, str | None]


class Pair(NamedTuple):
    """The keys of one module's A and B; None where the file has none."""

    a: str | None
    b: str | None


class NameCheck(NamedTuple):
    """The sites' modules that a file has tensors for, and what is wrong with its keys."""

    pairs: Mapping[str, Pair]
    violations: tuple[Violation, ...]


def match_names(keys: Iterable[str], facts: BaseFacts) -> NameCheck:
    """Find the module of each key.

    A key is a module's path, `lora_A` or `lora_B`, and `weight`. Before it may stand PEFT's
    prefix, between its parts the wrappers of training, before `weight` an adapter's name.
    """
    halves = {key: parse_key(key) for key in sorted(keys)}
    known = {key: half for key, half in halves.items() if half is not None}
    pairs = _pair(known)
    members = facts.members
    fitting = {name: pair for name, pair in pairs.items() if name in members}
    violations = [_name_foreign(key, facts) for key, half in halves.items() if half is None]
    violations += _check_forms(known)
    violations += _check_modules([name for name in pairs if name not in members], facts)
    violations += _check_pairs(fitting)
    return NameCheck(fitting, tuple(violations))


def parse_key(key: str) -> Half | None:
    """Take a key apart; None where it is not of LoRA's A or B."""
    bare = ".".join(part for part in key.split(".") if part not in WRAPPERS)
    match = _HALF.fullmatch(bare)
    if match is None:
        return None
    return Half(match["module"], match["letter"], (match["prefix"] is not None, match["adapter"]))


def _pair(halves: Mapping[str, Half]) -> dict[str, Pair]:
    found = {(half.module, half.letter): key for key, half in halves.items()}
    modules = dict.fromkeys(half.module for half in halves.values())
    return {name: Pair(found.get((name, "A")), found.get((name, "B"))) for name in modules}


def _name_foreign(key: str, facts: BaseFacts) -> Violation:
    """Say why a key that is neither A nor B is refused."""
    whole = _WHOLE.fullmatch(key)
    if whole is not None and whole["module"] in facts.other_modules:
        return unsupported(whole["module"], facts)
    code = "FEATURE_UNSUPPORTED" if _FEATURE.search(key) else "KEY_FORM"
    return Violation(code, printable(key), "a tensor that is neither A nor B", KEY)


def _check_forms(halves: Mapping[str, Half]) -> Iterator[Violation]:
    first: Half | None = None
    seen: set[tuple[str, str]] = set()
    for key, half in halves.items():
        first = first or half
        if half.form != first.form:
            yield Violation("KEY_FORM", printable(key), "a second form of key", "one in one file")
            return
        if half[:2] in seen:
            yield Violation("KEY_FORM", printable(key), "the same half twice", "one key for it")
        seen.add(half[:2])


def _check_modules(names: Sequence[str], facts: BaseFacts) -> Iterator[Violation]:
    unmatched = [name for name in names if name not in facts.other_modules]
    yield from (unsupported(name, facts) for name in names if name in facts.other_modules)
    for i, name in enumerate(unmatched):
        hint = f"; nearest is {_nearest(name, facts)}" if i < MAX_NEAREST else ""
        expected = f"a module of the base{hint}"
        yield Violation("TENSOR_UNMATCHED", printable(name), "no such module", expected)


def _check_pairs(pairs: Mapping[str, Pair]) -> Iterator[Violation]:
    for name, (a, b) in pairs.items():
        if a is None:
            yield Violation("TENSOR_PAIR", name, "B without A", "both")
        elif b is None:
            yield Violation("TENSOR_PAIR", name, "A without B", "both")


def _nearest(name: str, facts: BaseFacts) -> str:
    """The module with the most parts in common at its beginning and its end."""
    parts = name.split(".")

    def num_common(other: str) -> int:
        others = other.split(".")
        return _num_equal(parts, others) + _num_equal(parts[::-1], others[::-1])

    return max(facts.members, key=num_common, default="none")


def _num_equal(parts: Sequence[str], others: Sequence[str]) -> int:
    pairs = zip(parts, others, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
