"""A peer over HTTP: a small server of OpenAI's completions, which an engine of ours answers."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import cast

import pytest

from weft.bench.bed import Bed, digests_of
from weft.bench.checks import compare_answers
from weft.bench.driver import Answer, Request
from weft.bench.errors import PeerFailed
from weft.bench.peers.openai import OpenAi
from weft.bench.verify import run_alone


class Server(ThreadingHTTPServer):
    """Serves `base` and the adapters of a bed; `asked` are the bodies of the completions."""

    def __init__(self, bed: Bed) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bed = bed
        self.turn = Lock()
        self.asked: list[dict[str, object]] = []
        self.digests = {"base": None} | {lora.name: lora.digest for lora in bed.loras}

    def complete(self, body: dict[str, object]) -> dict[str, object]:
        tokens, num = body["prompt"], body["max_tokens"]
        assert isinstance(tokens, list)
        assert isinstance(num, int)
        with self.turn:
            self.asked.append(body)
            request = Request(tokens, self.digests[str(body["model"])], num)
            [answer] = self.bed.driver.run([request], logprobs=10).answers
        return {"choices": [{"logprobs": lay_out(answer)}], "usage": {"completion_tokens": num}}


def lay_out(answer: Answer) -> dict[str, object]:
    tops = [
        {f"token_id:{token}": value for token, value in zip(e.tokens, e.logprobs, strict=True)}
        for e in answer.logprobs
    ]
    return {
        "tokens": [f"token_id:{token}" for token in answer.tokens],
        "token_logprobs": [entry.logprob for entry in answer.logprobs],
        "top_logprobs": tops,
    }


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self._send({"data": [{"id": name, "owned_by": "weft"} for name in self.server.digests]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._send(self.server.complete(body))

    def _send(self, answer: dict[str, object]) -> None:
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def http(bed: Bed) -> Iterator[Server]:
    with Server(bed) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def url_of(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_port}/v1"


def test_rows_are_answered_by_their_adapters(bed: Bed, http: Server) -> None:
    peer = OpenAi(url_of(http), "base", bed.loras)
    digests = [*digests_of(bed.rows([0, 1, 2])), None]
    prompts = bed.prompts(4, 9)
    found = peer.answer(prompts, digests, new_tokens=6)
    requests = [Request(*row, 6) for row in zip(prompts, digests, strict=True)]
    expected, _ = run_alone(bed, requests)
    agreement = compare_answers(found, expected, limit=1e-4)
    assert agreement.holds
    assert agreement.num_equal == 4
    assert {str(body["model"]) for body in http.asked} == set(http.digests)
    assert peer.versions == {"openai": "weft"}


def test_no_run_repeats_a_prompt_and_none_asks_for_logprobs(bed: Bed, http: Server) -> None:
    peer = OpenAi(url_of(http), "base", bed.loras)
    prompts = bed.prompts(2, 9)
    for _ in range(2):
        assert peer.time(prompts, [None, None], new_tokens=3).rate > 0
    asked = [tuple(cast(list[int], body["prompt"])) for body in http.asked]
    assert len(set(asked)) == 4
    assert {tuple(sorted(prompt)) for prompt in asked} == {tuple(sorted(p)) for p in prompts}
    assert {body["logprobs"] for body in http.asked} == {None}


def test_a_model_that_is_not_served_is_named(bed: Bed, http: Server) -> None:
    with pytest.raises(PeerFailed, match="has no model other"):
        OpenAi(url_of(http), "other", bed.loras)


def test_nobody_there_is_a_failed_peer(bed: Bed) -> None:
    with pytest.raises(PeerFailed, match="Connection refused"):
        OpenAi("http://127.0.0.1:9/v1", "base", bed.loras)
