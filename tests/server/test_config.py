"""Configuration: what is refused at start, and the defaults."""

from pathlib import Path

import pytest

from weft.server.config import (
    MAX_SOCKET_PATH_BYTES,
    Address,
    DataDir,
    EngineConfig,
    FrontConfig,
    ModelConfig,
    RegistryConfig,
    SchedulingConfig,
    ServeConfig,
    default_data_dir,
    default_dtype,
    default_name,
)

LOOPBACK = Address("127.0.0.1", 0)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("localhost:7700", "localhost", 7700), ("0.0.0.0:1", "0.0.0.0", 1), ("[::1]:0", "::1", 0)],
)
def test_address_reads_host_and_port_and_writes_them_back(text: str, host: str, port: int) -> None:
    address = Address.parse(text)
    assert (address.host, address.port, str(address)) == (host, port, text)


@pytest.mark.parametrize("text", ["7700", "localhost", ":7700", "localhost:x", "localhost:65536"])
def test_address_refuses_what_is_not_host_and_port(text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Address.parse(text)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_is_recognised(host: str) -> None:
    assert Address(host, 0).is_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.org", "10.0.0.1"])
def test_other_addresses_need_keys_or_the_open_switch(host: str, tmp_path: Path) -> None:
    listen = Address(host, 7700)
    with pytest.raises(ValueError, match="--api-keys"):
        FrontConfig(listen)
    FrontConfig(listen, api_keys=tmp_path / "keys")
    FrontConfig(listen, insecure_no_auth=True)


@pytest.mark.parametrize("name", ["", "Upper", "-x", "x" * 64, "shared", "sha256", "a/b", "a:b"])
def test_served_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="served name"):
        ModelConfig("m", name, "cpu", "float32")


def test_dtype_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'int8'"):
        ModelConfig("m", "m", "cpu", "int8")


def test_quantisation_is_refused_by_name() -> None:
    assert ModelConfig("m", "m", "cpu", "float32").quantise is None
    with pytest.raises(ValueError, match="'int4'"):
        ModelConfig("m", "m", "cpu", "float32", quantise="int4")


@pytest.mark.parametrize("store", ["s3:x", "file:relative", "file:", "/x"])
def test_store_is_refused_by_name(store: str) -> None:
    with pytest.raises(ValueError, match=store):
        RegistryConfig("redis://", store)


def test_a_budget_below_one_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="max_sequences 0"):
        EngineConfig(max_sequences=0)


def test_an_unknown_policy_and_a_time_of_nothing_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'sjf' is not one of fair, fcfs, priority"):
        SchedulingConfig(policy="sjf")
    with pytest.raises(ValueError, match=r"ageing_s 0.0 is not above 0"):
        SchedulingConfig(ageing_s=0.0)
    with pytest.raises(ValueError, match=r"target_step_ms -1.0 is not above 0"):
        SchedulingConfig(target_step_ms=-1.0)


@pytest.mark.parametrize(
    ("redis_url", "store", "expected"),
    [
        (None, None, "file:/d/store"),
        ("redis://r", None, "redis"),
        ("redis://r", "file:/x", "file:/x"),
    ],
)
def test_bytes_live_beside_an_embedded_server_else_in_redis(
    redis_url: str | None, store: str | None, expected: str
) -> None:
    config = ServeConfig(
        model=ModelConfig("m", "m", "cpu", "float32"),
        data=DataDir(Path("/d")),
        engine=EngineConfig(),
        front=FrontConfig(LOOPBACK),
        metrics=LOOPBACK,
        store=store,
        redis_url=redis_url,
    )
    assert config.registry("unix:///s").store == expected


@pytest.mark.parametrize(
    ("source", "name"),
    [("meta-llama/Llama-3.1-8B", "llama-3.1-8b"), ("x/My Model!", "my-model"), ("tiny", "tiny")],
)
def test_served_name_comes_from_the_last_component(source: str, name: str) -> None:
    assert default_name(source) == name


def test_served_name_of_a_folder_is_the_folder_it_leads_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Base").mkdir()
    monkeypatch.chdir(tmp_path / "Base")
    assert default_name(".") == "base"


def test_data_directory_follows_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_data_dir() == Path("/data/weft")


def test_a_gpu_serves_in_bfloat16() -> None:
    assert default_dtype("cuda") == "bfloat16"
    assert default_dtype("cpu") in ("bfloat16", "float32")


def test_sockets_of_a_deep_data_directory_lie_where_paths_are_short(tmp_path: Path) -> None:
    assert DataDir(tmp_path).socket("engine") == tmp_path / "run" / "engine.sock"
    deep = DataDir(tmp_path / ("d" * 120))
    assert len(str(deep.socket("engine"))) <= MAX_SOCKET_PATH_BYTES
    assert deep.socket("engine") != deep.socket("redis")


def test_graphs_may_be_left_out() -> None:
    assert EngineConfig().graphs
    assert not EngineConfig(graphs=False).graphs
