"""Parts of packages: what is run of them, and that nobody else sees them."""

import sys
from pathlib import Path

import pytest

from weft.bench.errors import PeerMissing
from weft.bench.peers.standins import borrow, find_root

PACKAGE = "weft_test_peer"
FLAGS = {"heavy": {"flag": 3}}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A package that fails when it is imported, with a part that does not need the rest."""
    part = tmp_path / PACKAGE / "ops"
    part.mkdir(parents=True)
    (tmp_path / PACKAGE / "__init__.py").write_text("raise AssertionError('all of it')\n")
    (part / "__init__.py").write_text("raise AssertionError('all ops')\n")
    (part / "op.py").write_text(
        f"from {PACKAGE}.heavy import flag\n"
        f"def late():\n    from {PACKAGE}.heavy import flag\n    return flag\n"
    )
    (part / "broken.py").write_text("import weft_test_absent\n")
    return tmp_path / PACKAGE


def test_only_the_part_runs_and_nothing_of_it_can_be_imported_by_others(root: Path) -> None:
    borrowed = borrow(PACKAGE, ["ops.op"], standins=FLAGS, root=root)
    assert borrowed["ops.op"].flag == 3
    assert not [name for name in sys.modules if name.startswith(PACKAGE)]


def test_late_imports_work_while_the_modules_are_present(root: Path) -> None:
    op = borrow(PACKAGE, ["ops.op"], standins=FLAGS, root=root)
    with op.present():
        assert op["ops.op"].late() == 3
    with pytest.raises(ModuleNotFoundError):
        op["ops.op"].late()


def test_what_stood_there_stands_there_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, PACKAGE, pytest)
    borrow(PACKAGE, ["ops.op"], standins=FLAGS, root=root)
    assert sys.modules[PACKAGE] is pytest


def test_missing_requirement_is_named_and_leaves_nothing(root: Path) -> None:
    with pytest.raises(PeerMissing, match="weft_test_absent is not installed"):
        borrow(PACKAGE, ["ops.broken"], standins=FLAGS, root=root)
    assert not [name for name in sys.modules if name.startswith(PACKAGE)]


def test_root_is_the_installed_package_then_the_pack(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = tmp_path / "pack" / PACKAGE
    packed.mkdir(parents=True)
    assert find_root(PACKAGE, pack=tmp_path / "pack") == packed
    monkeypatch.syspath_prepend(root.parent)
    assert find_root(PACKAGE, pack=tmp_path / "pack") == root
    assert PACKAGE not in sys.modules


def test_neither_is_missing(tmp_path: Path) -> None:
    with pytest.raises(PeerMissing, match=f"{PACKAGE}: not installed"):
        find_root(PACKAGE, pack=tmp_path)
