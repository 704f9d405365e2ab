"""The contract as protoc sees it: sources, generated code and descriptors with their comments."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import google.rpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

SRC = Path(__file__).parents[2] / "src"
SOURCES = sorted((SRC / "weft" / "protos" / "v1").glob("*.proto"))


def protoc(*options: str, sources: Sequence[Path] = SOURCES) -> None:
    """Run the compiler over `sources`, with Google's own protos at hand."""
    installed = Path(next(iter(google.rpc.__path__))).parents[1]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{SRC}", f"-I{installed}"]
    subprocess.run([*command, *options, *map(str, sources)], check=True)


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with freshly generated code."""
    folder = tmp_path_factory.mktemp("generated")
    protoc(*(f"--{kind}_out={folder}" for kind in ("python", "pyi", "grpc_python")))
    return folder / "weft" / "protos" / "v1"


@pytest.fixture(scope="session")
def descriptors(tmp_path_factory: pytest.TempPathFactory) -> tuple[FileDescriptorProto, ...]:
    """Every file of the package, with source info."""
    path = tmp_path_factory.mktemp("descriptors") / "weft.binpb"
    protoc(f"--descriptor_set_out={path}", "--include_source_info")
    return tuple(FileDescriptorSet.FromString(path.read_bytes()).file)
