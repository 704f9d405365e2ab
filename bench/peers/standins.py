"""Import a few modules of a large package without running the package itself."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from weft.bench.errors import PeerMissing

PACK = Path(".peers")
"""Where `weft bench peers pack` puts what it copies, in the folder that the bench runs in."""


def find_root(package: str, *, pack: Path | None = PACK) -> Path:
    """The folder of an installed package, or else of its copy in a pack; nothing is imported.

    Raises:
        PeerMissing: Neither is there.
    """
    spec = find_spec(package)
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).parent
    if pack is not None and (pack / package).is_dir():
        return (pack / package).resolve()
    raise PeerMissing(f"{package}: not installed")


@dataclass(frozen=True, slots=True)
class Borrowed:
    """Modules of one package, kept out of `sys.modules` while none of them is being imported.

    Other libraries look whether a package is there by its name, and must not find a part of it.

    Attributes:
        modules: By full name: those imported, bare parent packages, and stand-ins.
    """

    package: str
    modules: dict[str, ModuleType]

    def __getitem__(self, name: str) -> ModuleType:
        return self.modules[f"{self.package}.{name}"]

    @contextmanager
    def present(self) -> Iterator[None]:
        """Put the modules where import statements find them, then what stood there before."""
        before = _take_out(self.package)
        sys.modules.update(self.modules)
        try:
            yield
        finally:
            self.modules.update(_take_out(self.package))
            sys.modules.update(before)


def borrow(
    package: str,
    names: Sequence[str],
    *,
    standins: Mapping[str, Mapping[str, object]],
    root: Path,
) -> Borrowed:
    """Import modules whose parents are empty packages, with stand-ins for what they import.

    Args:
        names: Without the package: `a.b` is `package.a.b`.
        standins: Attributes, by names of the same kind.

    Raises:
        PeerMissing: Something that the modules import is not installed.
    """
    parents = {package} | {f"{package}.{p}" for name in names for p in _parents(name)}
    modules = {name: _make_package(name, root) for name in parents}
    for name, attributes in standins.items():
        module = modules.setdefault(f"{package}.{name}", ModuleType(f"{package}.{name}"))
        vars(module).update(attributes)
    borrowed = Borrowed(package, modules)
    with borrowed.present():
        for name in names:
            try:
                import_module(f"{package}.{name}")
            except ModuleNotFoundError as missing:
                raise PeerMissing(f"{package}: {missing.name} is not installed") from missing
    return borrowed


def _parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[:end]) for end in range(1, len(parts)))


def _make_package(name: str, root: Path) -> ModuleType:
    package = ModuleType(name)
    package.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
    return package


def _take_out(package: str) -> dict[str, ModuleType]:
    names = [n for n in sys.modules if n == package or n.startswith(f"{package}.")]
    return {name: sys.modules.pop(name) for name in names}
