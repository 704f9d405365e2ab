"""`weft bench peers pack` on installed packages that hold an empty file for every pattern."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from weft.bench.command import bench
from weft.bench.peers.pack import PEERS, pack_peer
from weft.bench.peers.standins import find_root


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    site = tmp_path / "site"
    for package, patterns in PEERS.items():
        for name in ("__init__.py", "server.py", *(p.replace("*", "some") for p in patterns)):
            file = site / package / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("1\n")
    monkeypatch.syspath_prepend(site)
    return site


def test_pack_holds_what_patterns_name_and_no_more(installed: Path, tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    (pack / "vllm").mkdir(parents=True)
    (pack / "vllm" / "old.py").touch()
    result = CliRunner().invoke(bench, ["peers", "pack", "--out", str(pack)])
    assert result.exit_code == 0, result.output
    assert f"{pack / 'vllm'}: 0.00 MB" in result.output
    for package, patterns in PEERS.items():
        files = {
            str(f.relative_to(pack / package)) for f in (pack / package).rglob("*") if f.is_file()
        }
        assert files == {pattern.replace("*", "some") for pattern in patterns}
    assert pack_peer("vllm", pack) == 2 * len(PEERS["vllm"])


def test_package_without_a_module_is_an_error(installed: Path, tmp_path: Path) -> None:
    (find_root("sglang") / "srt" / "lora" / "utils.py").unlink()
    result = CliRunner().invoke(bench, ["peers", "pack", "--out", str(tmp_path / "pack")])
    assert (result.exit_code, "has no srt/lora/utils.py" in result.output) == (1, True)
