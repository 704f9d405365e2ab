"""A peer over gRPC: a server that runs already."""

from contextlib import closing
from pathlib import Path

import pytest

from tests.tiny import save_tiny_adapter
from weft.bench.errors import PeerFailed
from weft.bench.loras import Lora
from weft.bench.peers.weft_grpc import WeftGrpc
from weft.client import Client, Sampling, Stopping
from weft.server.child import Server


@pytest.mark.xdist_group("servers")
def test_rows_are_answered_by_their_adapters(
    server: Server, tiny_llama: Path, tmp_path: Path
) -> None:
    files = save_tiny_adapter(tiny_llama, tmp_path / "peer-lora")
    lora = Lora("peer-lora", 8, "sha256:here", files, tmp_path / "image", 1)
    prompts = [[5, 6, 7, 8], [9, 10, 11, 12]]
    with closing(WeftGrpc(server.address, [lora])) as peer:
        found = peer.answer(prompts, ["sha256:here", None], new_tokens=4)
        assert peer.time(prompts, [None, None], new_tokens=4).rate > 0
    with Client(server.address) as weft:
        for answer, model, prompt in zip(found, ("peer-lora", "base"), prompts, strict=True):
            alone = weft.complete(
                model,
                tokens=prompt,
                sampling=Sampling(temperature=0),
                stopping=Stopping(max_tokens=4, ignore_end_token=True),
            )
            assert answer.tokens == list(alone.completions[0].token_ids)
            assert [entry.tokens[0] for entry in answer.logprobs] == answer.tokens


def test_nobody_there_is_a_failed_peer() -> None:
    with pytest.raises(PeerFailed, match=r"weft-grpc: 127\.0\.0\.1:9"):
        WeftGrpc("127.0.0.1:9", [])
