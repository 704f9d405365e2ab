"""What the running server logs and counts of its calls."""

import re

import pytest

from weft.client import Client, Stopping, user
from weft.protos.v1 import types_pb2
from weft.server.child import Server

from .calls import await_figures, events, figure, generate_request, read_figures, refusal

SERVED = {
    "weft_build_info",
    "weft_requests_total",
    "weft_request_seconds_bucket",
    "weft_queue_seconds_bucket",
    "weft_time_to_first_token_seconds_bucket",
    "weft_time_per_output_token_seconds_bucket",
    "weft_tokens_total",
    "weft_front_loop_lag_seconds_bucket",
    "weft_channel_messages_total",
    "weft_admission_total",
    "weft_registry_lag_seconds",
    "weft_registry_stale",
    "weft_running_sequences",
    "weft_waiting_sequences",
    "weft_kv_blocks",
    "weft_step_seconds_bucket",
    "weft_step_tokens_bucket",
    "weft_batch_distinct_adapters_bucket",
    "weft_adapter_load_seconds_bucket",
    "weft_adapter_lookups_total",
    "weft_tier_bytes",
}


def lines_of(server: Server, request_id: str) -> list[str]:
    return [
        line for line in server.log.read_text().splitlines() if f"request id={request_id} " in line
    ]


def test_one_line_at_a_requests_end_has_ids_counts_and_times(
    server: Server, weft: Client, version: types_pb2.Version
) -> None:
    weft.complete(
        f"{version.adapter}:prod",
        text="the quick",
        stopping=Stopping(max_tokens=5, ignore_end_token=True),
        request_id=f"log-{version.adapter}",
    )
    [line] = lines_of(server, f"log-{version.adapter}")
    fields = dict(re.findall(r"(\S+)=(\S+)", line))
    assert fields["tenant"] == "default"
    assert (fields["model"], fields["version"]) == (f"{version.adapter}@1", "1")
    assert fields["digest"] == version.digest
    assert fields["outcome"] == "LENGTH"
    assert (fields["generated"], fields["cached"]) == ("5", "0")
    assert int(fields["prompt"]) == len(weft.tokenize("base", text="the quick").token_ids)
    assert float(fields["total_ms"]) >= float(fields["ttft_ms"]) > 0
    assert float(fields["tpot_ms"]) > 0
    assert fields["peer"].startswith("ipv4:127.0.0.1:")
    assert {"queue_ms", "load_ms", "tier"} <= fields.keys()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"model": "nobody"}, "MODEL_NOT_FOUND"),
        ({"logprobs": 99}, "REQUEST_INVALID"),
        ({"max_tokens": 9999}, "PROMPT_TOO_LONG"),
        ({"num_beams": 4, "logprobs": 1}, "FEATURE_UNSUPPORTED"),
    ],
)
def test_a_refused_request_has_its_line_and_count_too(
    server: Server, weft: Client, name: str, fields: dict[str, object], reason: str
) -> None:
    before = figure(read_figures(server), "weft_requests_total", reason=reason)
    request = generate_request(request_id=name, **fields)  # type: ignore[arg-type]
    with refusal(reason):
        events(weft, request)
    [line] = lines_of(server, name)
    assert f"outcome={reason}" in line
    after = figure(read_figures(server), "weft_requests_total", reason=reason)
    assert after == before + 1


def test_neither_prompt_nor_completion_is_ever_logged(server: Server, weft: Client) -> None:
    secret = "xylophonesecret"
    answer = weft.complete("base", text=f"{secret} fox", stopping=Stopping(max_tokens=30))
    weft.complete("base", chat=[user(secret)], stopping=Stopping(max_tokens=3, stop=[secret]))
    weft.tokenize("base", text=secret)
    with refusal("REQUEST_INVALID"):
        weft.complete("base", text=secret, logprobs=99)
    with refusal("PROMPT_TOO_LONG"):
        weft.complete("base", text=secret * 100)
    log = server.log.read_text()
    assert secret not in log
    assert answer.text not in log


def test_metrics_are_served_under_their_names(
    server: Server, weft: Client, version: types_pb2.Version
) -> None:
    model = version.adapter
    weft.complete(version.adapter, text="x", stopping=Stopping(max_tokens=4, ignore_end_token=True))
    figures = await_figures(server, lambda figures: {name for name, _ in figures} >= SERVED)
    assert figure(figures, "weft_tokens_total", model=model, kind="generated") == 4
    assert figure(figures, "weft_requests_total", model=model, tenant="default") == 1
    assert figure(figures, "weft_request_seconds_count", model=model) == 1
    assert figure(figures, "weft_time_to_first_token_seconds_count", model=model) == 1
    assert figure(figures, "weft_tier_bytes", tier="gpu", kind="used") > 0
    assert figure(figures, "weft_build_info", base_digest=version.base_digest) == 1
    assert figure(figures, "weft_registry_stale") == 0
