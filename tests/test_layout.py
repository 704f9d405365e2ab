"""The layout: sub-packages are links, and no code imports a top-level folder by its bare name."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ["adapters", "bench", "demo", "kernels", "protos", "server"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_sub_package_is_a_link_to_its_top_level_folder(folder: str) -> None:
    assert (ROOT / "src" / "weft" / folder).readlink() == Path("../..") / folder


def test_top_level_folders_are_imported_as_weft_only() -> None:
    """`kernels` and `adapters` are names of other people's packages."""
    files = [file for folder in [*FOLDERS, "tests"] for file in (ROOT / folder).rglob("*.py")]
    assert len(files) > 10
    assert [
        f"{file.relative_to(ROOT)}: {ast.unparse(node)}"
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if imports_a_folder(node)
    ] == []


def imports_a_folder(node: ast.AST) -> bool:
    match node:
        case ast.Import(names=names):
            return any(name.name.partition(".")[0] in FOLDERS for name in names)
        case ast.ImportFrom(module=str(module), level=0):
            return module.partition(".")[0] in FOLDERS
    return False
