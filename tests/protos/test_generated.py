"""The generated code that is committed is what the sources give."""

from pathlib import Path

from .conftest import SRC

COMMITTED = SRC / "weft" / "protos" / "v1"


def generated_files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.glob("*_pb2*")}


def test_committed_code_is_what_the_sources_give(generated: Path) -> None:
    fresh = generated_files(generated)
    committed = generated_files(COMMITTED)
    assert sorted(committed) == sorted(fresh)
    assert [name for name in fresh if committed[name] != fresh[name]] == []


def test_every_source_has_its_types_and_its_services(generated: Path) -> None:
    assert sorted(path.name for path in generated.iterdir()) == sorted(
        f"{part}_pb2{suffix}"
        for part in ("adapters", "admin", "errors", "inference", "jobs", "types")
        for suffix in (".py", ".pyi", "_grpc.py")
    )
