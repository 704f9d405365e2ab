"""`weft serve` before anything starts: options, variables and the config file."""

from collections.abc import Callable
from pathlib import Path

import click
import pytest

from weft.server.cli import run
from weft.server.commands.exits import Exit
from weft.server.commands.serve import Common, serve

Refused = Callable[..., str]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Refused:
    """Run `weft serve` with options that stop the start; answer what it says."""

    def run_serve(*options: str | Path) -> str:
        data = ["--data-dir", str(tmp_path / "data")]
        assert run(["serve", str(tmp_path), *data, *map(str, options)]) == Exit.USAGE
        assert not (tmp_path / "data").exists()
        return " ".join(capsys.readouterr().err.split())

    return run_serve


@pytest.mark.parametrize("listen", ["0.0.0.0:7700", "[::]:7700", "example.org:7700"])
def test_other_than_loopback_is_not_served_without_keys(refused: Refused, listen: str) -> None:
    said = refused("--listen", listen)
    assert listen in said
    assert "--api-keys FILE" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--listen", "7700"], "'7700' is not HOST:PORT"),
        (["--metrics", "localhost:99999"], "'localhost:99999' is not HOST:PORT"),
        (["--served-name", "No Name"], "'No Name'"),
        (["--served-name", "shared"], "'shared'"),
        (["--max-request-seconds", "0"], "max_request_seconds 0.0 is not above 0"),
        (["--kv-bytes", "0"], "--kv-bytes"),
        (["--dtype", "int4"], "int4"),
        (["--quantise", "int4"], "int4"),
        (["--device", "abacus"], "abacus"),
        (["--api-keys", "/nowhere"], "/nowhere"),
        (["--log-format", "xml"], "xml"),
        (["--policy", "sjf"], "sjf"),
        (["--ageing-s", "0"], "ageing_s 0.0 is not above 0"),
        (["--target-step-ms", "0"], "target_step_ms 0.0 is not above 0"),
        (["--window-ms", "0"], "window_ms 0.0 is not above 0"),
        (["--max-tenant-waiting", "0"], "--max-tenant-waiting"),
        (["--fast"], "--fast"),
    ],
    ids=" ".join,
)
def test_a_value_that_cannot_be_is_named(refused: Refused, options: list[str], said: str) -> None:
    assert said in refused(*options)


def test_an_option_is_read_from_its_variable(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEFT_LISTEN", "0.0.0.0:1")
    assert "0.0.0.0:1" in refused()


def test_an_option_is_read_from_the_config_file_unless_it_is_given(
    refused: Refused, tmp_path: Path
) -> None:
    config = tmp_path / "weft.toml"
    config.write_text('listen = "0.0.0.0:1"\nmax-sequences = 4\n')
    assert "0.0.0.0:1" in refused("--config", config)
    assert "0.0.0.0:2" in refused("--config", config, "--listen", "0.0.0.0:2")


@pytest.mark.parametrize(
    ("text", "said"),
    [("lisen = 1", "unknown key lisen"), ("listen = ", "is not TOML")],
)
def test_a_config_file_that_is_not_understood_stops_the_start(
    refused: Refused, tmp_path: Path, text: str, said: str
) -> None:
    config = tmp_path / "weft.toml"
    config.write_text(text)
    assert said in refused("--config", config, "--listen", "0.0.0.0:1")


def test_every_option_has_a_variable_and_a_text() -> None:
    options = [each for each in serve.params if isinstance(each, click.Option)]
    for option in options:
        name = option.opts[0].removeprefix("--").replace("-", "_").upper()
        assert option.envvar == f"WEFT_{name}"
        assert option.help
        assert f"[WEFT_{name}]" in option.help


def common(**fields: object) -> Common:
    nothing: dict[str, object] = dict.fromkeys(Common.__dataclass_fields__)
    return Common(**(nothing | fields))  # type: ignore[arg-type]


def test_a_folder_is_named_by_its_last_part_and_kept_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "My Model").mkdir()
    monkeypatch.chdir(tmp_path)
    model = common(device="cpu", dtype="float32", quantise="int8").model("My Model")
    assert (model.name, model.source) == ("my-model", str(tmp_path / "My Model"))
    assert (model.dtype, model.quantise) == ("float32", "int8")
    hub = common(device="cpu", dtype="float32", served_name="base").model("org/name")
    assert (hub.name, hub.source) == ("base", "org/name")


def test_the_data_directory_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert common(data_dir=Path("here")).data().root == tmp_path / "here"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert common().data().root == tmp_path / "weft"
