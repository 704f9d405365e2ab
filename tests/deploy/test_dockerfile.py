"""The image: what goes in exists, what runs is the installed package, nobody is root."""

import json
import re
import tomllib

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from .files import DEPLOY, ROOT, TEXTS, arguments_of, default_port, instructions

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def copied() -> dict[str, str]:
    """What comes from the repository, and where it goes."""
    pairs: dict[str, str] = {}
    for rest in arguments_of("COPY"):
        if not rest.startswith("--from"):
            *sources, target = rest.split()
            pairs |= dict.fromkeys(sources, target)
    return pairs


def pip_installs() -> list[str]:
    return [rest for rest in arguments_of("RUN") if "pip install" in rest]


def test_everything_copied_exists() -> None:
    assert [source for source in copied() if not (ROOT / source).exists()] == []


def test_everything_the_package_is_made_of_is_copied() -> None:
    links = [path for path in (ROOT / "src" / "weft").iterdir() if path.is_symlink()]
    needed = {path.resolve().name for path in links}
    assert {"src", "pyproject.toml", PROJECT["readme"], "constraints.txt", *needed} <= set(copied())
    assert all(copied()[name] == name for name in needed)


def test_every_install_keeps_to_the_constraints() -> None:
    assert len(pip_installs()) == 2
    assert all("--constraint constraints.txt" in install for install in pip_installs())


def test_torch_comes_first_and_its_index_is_an_argument_without_a_value() -> None:
    words = [word for word, _ in instructions()]
    assert arguments_of("ARG") == ["TORCH_INDEX="]
    assert words.index("ARG") > words.index("FROM")
    assert pip_installs()[0].endswith('${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch')
    assert TEXTS["Dockerfile"].count("index-url") == 1


def test_the_server_is_installed_with_its_extra() -> None:
    [extras] = re.findall(r"'\.\[(\w+)\]'", pip_installs()[1])
    assert extras == "server"
    assert "torch" in {Requirement(line).name for line in PROJECT["optional-dependencies"][extras]}


def test_both_stages_run_one_python_that_the_package_admits() -> None:
    images = {rest.split()[0] for rest in arguments_of("FROM")}
    assert len(images) == 1
    [version] = re.findall(r"^python:([\d.]+)-slim", images.pop())
    assert SpecifierSet(PROJECT["requires-python"]).contains(version)


def test_the_image_runs_the_script_of_the_project() -> None:
    assert json.loads(arguments_of("ENTRYPOINT")[0]) == [*PROJECT["scripts"]] == ["weft"]
    [copy] = [rest for rest in arguments_of("COPY") if rest.startswith("--from=build")]
    venv = copy.split()[-1]
    assert f"python -m venv {venv}" in arguments_of("RUN")
    assert all(f"{venv}/bin/pip install" in install for install in pip_installs())
    assert f"PATH={venv}/bin:$PATH" in arguments_of("ENV")[0]


def test_a_user_of_its_own_owns_the_data() -> None:
    [user] = arguments_of("USER")
    [data] = re.findall(r"WEFT_DATA_DIR=(\S+)", arguments_of("ENV")[0])
    [made] = [rest for rest in arguments_of("RUN") if "useradd" in rest]
    assert user != "root"
    assert re.search(rf"useradd .*--home-dir {data} .*\b{user} &&", made)
    assert f"--owner {user} --group {user} --mode 0700 {data} {data}/store" in made
    assert arguments_of("VOLUME") == [data]


def test_the_ports_are_those_of_weft_serve() -> None:
    ports = [int(port) for port in arguments_of("EXPOSE")[0].split()]
    assert ports == [default_port("listen"), default_port("metrics")]


def test_the_health_check_is_in_the_image_and_asks_the_right_port() -> None:
    [check] = arguments_of("HEALTHCHECK")
    python, script, address = json.loads(check.partition(" CMD ")[2])
    assert (python, address) == ("python", f"localhost:{default_port('listen')}")
    assert copied()[f"deploy/{script.rpartition('/')[2]}"] == script
    assert (DEPLOY / script.rpartition("/")[2]).exists()
