"""The systemd unit: its command, its files, and how it stops."""

import pytest

from weft.server.commands.exits import Exit
from weft.server.config import Address
from weft.server.supervisor import Part

from .files import TEXTS, arguments_of, default_port, environment_file, parse, shell_lines, unit

SUPERVISED = ("redis", "engine", "front", "worker")
SETTINGS = environment_file(TEXTS["weft.env"])


def installed() -> dict[str, str]:
    """What the README installs where."""
    found = [words for words in shell_lines() if words[:2] == ["sudo", "install"]]
    return {words[-1]: words[-2] for words in found}


def test_the_command_is_one_that_weft_takes() -> None:
    [line] = unit()["ExecStart"]
    program, *arguments = line.split()
    assert ["sudo", "python3", "-m", "venv", program.removesuffix("/bin/weft")] in shell_lines()
    assert parse(arguments) == {
        "model": "${MODEL}",
        "api_keys": "${CREDENTIALS_DIRECTORY}/api-keys",
    }
    assert "MODEL" in SETTINGS


def test_the_readme_puts_every_file_where_the_unit_looks() -> None:
    [environment] = unit()["EnvironmentFile"]
    credential, _, source = unit()["LoadCredential"][0].partition(":")
    assert unit()["ExecStart"][0].endswith(f"${{CREDENTIALS_DIRECTORY}}/{credential}")
    assert installed() == {
        environment: "deploy/weft.env",
        source: "deploy/secrets/api-keys",
        "/etc/systemd/system/weft.service": "deploy/weft.service",
    }


def test_the_example_listens_where_weft_serve_does_by_default() -> None:
    for name in ("listen", "metrics"):
        address = Address.parse(SETTINGS[f"WEFT_{name.upper()}"])
        assert address.is_loopback
        assert address.port == default_port(name)


def test_the_data_is_in_the_state_directory() -> None:
    state = f"/var/lib/{unit()['StateDirectory'][0]}"
    assert unit()["Environment"] == [f"HOME={state}", f"WEFT_DATA_DIR={state}"]
    assert arguments_of("VOLUME") == [state]


def test_the_supervisor_alone_is_asked_to_stop_and_has_the_time() -> None:
    part = Part("any", start=lambda: pytest.fail("never started"))
    assert unit()["KillMode"] == ["mixed"]
    assert float(unit()["TimeoutStopSec"][0]) > len(SUPERVISED) * part.stop_grace_s


def test_it_starts_again_after_failures_but_not_after_a_wrong_option() -> None:
    assert unit()["Restart"] == ["on-failure"]
    assert unit()["RestartPreventExitStatus"] == [str(int(Exit.USAGE))]


def test_it_runs_as_a_user_of_its_own_that_can_write_nowhere_else() -> None:
    for name in ("DynamicUser", "NoNewPrivileges", "ProtectHome", "PrivateTmp"):
        assert unit()[name] == ["yes"]
    assert unit()["ProtectSystem"] == ["strict"]
    assert unit()["CapabilityBoundingSet"] == [""]
