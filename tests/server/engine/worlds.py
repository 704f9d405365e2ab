"""A tiny base model with adapters on disk, an engine on it, and a front that reads its answers."""

import time
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel
from torch import nn
from transformers import AutoModelForCausalLM

from tests.tiny import save_tiny_adapter, save_tiny_model
from weft.adapters.image import write_image
from weft.adapters.sites import BaseFacts
from weft.adapters.tensor_checks import Limits
from weft.adapters.weights import CheckedAdapter, check_adapter
from weft.server.channel import (
    Beams,
    EarlyStopping,
    EngineMessage,
    Failed,
    Finished,
    Hypotheses,
    Hypothesis,
    Located,
    Need,
    Placed,
    Probe,
    Probed,
    PromptLogprobs,
    Ready,
    Sampling,
    Submit,
    TokenLogprobs,
    Tokens,
    Unplaced,
    Unready,
    Welcome,
)
from weft.server.config import EngineConfig
from weft.server.engine.engine import Engine
from weft.server.engine.graphs import Capture, StepGraphs, capture_steps
from weft.server.model.facts import base_facts
from weft.server.model.loader import LoadedModel, load_model

FRONT = b"front"
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
MLP = ["gate_proj", "up_proj", "down_proj"]
LORAS = {
    "r4 on q v": LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]),
    "r8 on all": LoraConfig(r=8, lora_alpha=8, target_modules=ATTENTION + MLP),
    "r16 on mlp": LoraConfig(r=16, lora_alpha=4, target_modules=MLP),
    "r64 on o": LoraConfig(r=64, lora_alpha=16, target_modules=["o_proj"]),
    "rslora": LoraConfig(r=16, lora_alpha=4, use_rslora=True, target_modules=["k_proj", "up_proj"]),
    "rank pattern": LoraConfig(
        r=4, lora_alpha=8, target_modules=ATTENTION, rank_pattern={"k_proj": 8, "o_proj": 1}
    ),
    "alpha pattern": LoraConfig(
        r=8, lora_alpha=4, target_modules=["q_proj", "gate_proj"], alpha_pattern={"q_proj": 16}
    ),
    "one layer": LoraConfig(
        r=4, lora_alpha=8, target_modules=["v_proj", "down_proj"], layers_to_transform=[1]
    ),
}


@dataclass(slots=True)
class World:
    """A base model on disk and loaded, its adapters' folders, and their images by digest."""

    folder: Path
    facts: BaseFacts
    model: LoadedModel
    adapters: dict[str, Path]
    digests: dict[str, str]
    images: dict[str, Path]


def make_world(family: str, folder: Path, loras: Iterable[str] = LORAS) -> World:
    base = save_tiny_model(family, folder / "base")
    facts = base_facts(base, name="tiny", dtype="float32", hash_cache=None)
    model = load_model(base, facts=facts, device="cpu", dtype=torch.float32)
    world = World(base, facts, model, {}, {}, {})
    for seed, name in enumerate(loras):
        files = save_tiny_adapter(base, folder / name, deepcopy(LORAS[name]), seed=seed)
        checked = check(files, facts)
        image = folder / f"{name}.image"
        write_image(checked, facts, image)
        world.adapters[name] = files
        world.digests[name] = checked.digest
        world.images[checked.digest] = image
    return world


def check(files: Path, facts: BaseFacts) -> CheckedAdapter:
    """Read an adapter in PEFT's layout."""
    return check_adapter(
        files / "adapter_config.json",
        files / "adapter_model.safetensors",
        facts,
        limits=Limits(max_rank=64, max_file_bytes=1 << 24, arena_bytes=1 << 24),
        assert_base=True,
    )


@dataclass(slots=True)
class Answer:
    """What a front was told of one stream."""

    tokens: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprobs | None] = field(default_factory=list)
    prompt_logprobs: list[TokenLogprobs] = field(default_factory=list)
    hypotheses: list[Hypothesis] = field(default_factory=list)
    finished: Finished | None = None
    failed: Failed | None = None

    @property
    def is_over(self) -> bool:
        return self.finished is not None or self.failed is not None


class Front:
    """Submits to an engine and keeps what it is told; brings the images that it is asked for."""

    def __init__(
        self, world: World, config: EngineConfig, *, runs_ahead: bool | None = None
    ) -> None:
        self.world = world
        self.engine = Engine(
            world.model,
            world.facts,
            config,
            send=self.hear,
            folder=world.folder,
            runs_ahead=runs_ahead,
        )
        self.answers: dict[int, Answer] = {}
        self.needs: list[str] = []
        self.probed: list[Probed] = []
        self.welcomes: list[Welcome] = []
        self.placed: list[Placed | Unplaced | Located] = []
        self.is_gone = False
        self.images: dict[str, Path] = dict(world.images)

    def close(self) -> None:
        self.engine.close()

    def hear(self, peer: bytes, message: EngineMessage) -> bool:
        match message:
            case Tokens():
                self.hear_tokens(message)
            case PromptLogprobs():
                self.answers[message.stream].prompt_logprobs += message.logprobs
            case Hypotheses():
                self.answers[message.stream].hypotheses += message.hypotheses
            case Finished():
                self.answers[message.stream].finished = message
            case Failed():
                self.answers[message.stream].failed = message
            case Need():
                self.needs.append(message.digest)
            case Probed():
                self.probed.append(message)
            case Welcome():
                self.welcomes.append(message)
            case Placed() | Unplaced() | Located():
                self.placed.append(message)
        return not self.is_gone

    def hear_tokens(self, message: Tokens) -> None:
        logprobs = message.logprobs or [None] * len(message.tokens)
        for stream, token, logprob in zip(message.streams, message.tokens, logprobs, strict=True):
            self.answers[stream].tokens.append(token)
            self.answers[stream].logprobs.append(logprob)

    def submit(
        self,
        tokens: list[int],
        *,
        model: str | None = None,
        max_tokens: int = 8,
        sampling: Sampling | None = None,
        stop_tokens: frozenset[int] = frozenset(),
        logprobs: int | None = None,
        deadline: float | None = None,
        min_tokens: int = 0,
        grammar: str | None = None,
        after: int | None = None,
        prompt_logprobs: int | None = None,
        beams: Beams | None = None,
    ) -> int:
        """Submit a request for the adapter `model`, or for the base; answer its stream."""
        stream = len(self.answers) + 1
        self.answers[stream] = Answer()
        request = Submit(
            stream=stream,
            digest=None if model is None else self.world.digests[model],
            tokens=tokens,
            sampling=sampling or Sampling(),
            max_tokens=max_tokens,
            stop_tokens=stop_tokens,
            salt="",
            logprobs=logprobs,
            deadline=deadline,
            min_tokens=min_tokens,
            grammar=grammar,
            after=after,
            prompt_logprobs=prompt_logprobs,
            beams=beams,
        )
        self.engine.receive(FRONT, request)
        return stream

    def probe(self, model: str, *, image: Path | None = None) -> None:
        """Ask for a probe of an adapter, as its publisher would."""
        digest = self.world.digests[model]
        request = Probe(
            probe=len(self.probed) + 1,
            digest=digest,
            image=str(image or self.world.images[digest]),
            config=str(self.world.adapters[model] / "adapter_config.json"),
            weights=str(self.world.adapters[model] / "adapter_model.safetensors"),
            allow_no_effect=False,
        )
        self.engine.receive(FRONT, request)

    def finish_probes(self, num: int = 1, *, timeout_s: float = 60) -> list[Probed]:
        """Run until `num` probes have been answered."""
        deadline = time.monotonic() + timeout_s
        while len(self.probed) < num:
            assert time.monotonic() < deadline
            if not self.step():
                self.engine.wait(0.01)
        self.engine.check_integrity()
        return self.probed

    def step(self) -> bool:
        """Bring what is needed, and let the engine run one step."""
        for digest in self.needs:
            path = self.images.get(digest)
            self.engine.receive(
                FRONT,
                Unready(digest, "STORE_UNAVAILABLE", "the store is away")
                if path is None
                else Ready(digest, str(path)),
            )
        self.needs.clear()
        return self.engine.step()

    def advance(self) -> None:
        """Run a step, or wait for a load if that is all there is to do."""
        if not self.step() and self.engine.is_loading:
            self.engine.wait(0.02)

    def finish(self, *, timeout_s: float = 60) -> None:
        """Run until every stream is over."""
        deadline = time.monotonic() + timeout_s
        while not all(answer.is_over for answer in self.answers.values()):
            assert time.monotonic() < deadline
            self.advance()
        self.engine.check_integrity()


class Reference:
    """Hugging Face's model with PEFT's adapter, in float32, one request at a time."""

    def __init__(self, world: World, model: str | None) -> None:
        base = AutoModelForCausalLM.from_pretrained(world.folder, dtype=torch.float32)
        adapter = None if model is None else str(world.adapters[model])
        self._model: nn.Module = (
            base if adapter is None else PeftModel.from_pretrained(base, adapter)
        )
        self._model.eval()

    @torch.inference_mode()
    def answer(self, tokens: list[int], max_tokens: int) -> tuple[list[int], list[float]]:
        """Greedy tokens and their log-probabilities."""
        drawn: list[int] = []
        logprobs: list[float] = []
        for _ in range(max_tokens):
            logits = self._model(input_ids=torch.tensor([tokens + drawn])).logits[0, -1]
            drawn.append(int(logits.argmax()))
            logprobs.append(float(logits.log_softmax(-1)[drawn[-1]]))
        return drawn, logprobs

    @torch.inference_mode()
    def prompt(self, tokens: list[int]) -> list[float]:
        """Log-probabilities of a prompt's tokens but the first."""
        logits_TV = self._model(input_ids=torch.tensor([tokens])).logits[0, :-1]
        found = logits_TV.log_softmax(-1).gather(1, torch.tensor(tokens[1:])[:, None])
        return list(found[:, 0].tolist())

    @torch.inference_mode()
    def search(
        self, tokens: list[int], beams: Beams, **options: object
    ) -> list[tuple[list[int], float]]:
        """What the beam search of `generate` adds to a prompt, padded, with scores."""
        prompt = torch.tensor([tokens])
        early = {EarlyStopping.HEURISTIC: False, EarlyStopping.FIRST: True}
        found = self._model.generate(  # type: ignore[operator]
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            num_beams=beams.num,
            num_return_sequences=beams.num_best,
            length_penalty=beams.length_penalty,
            early_stopping=early.get(beams.early_stopping, "never"),
            return_dict_in_generate=True,
            output_scores=True,
            **options,
        )
        rows = found.sequences[:, len(tokens) :].tolist()
        return list(zip(rows, found.sequences_scores.tolist(), strict=True))

    @torch.inference_mode()
    def generate(self, tokens: list[int], **options: object) -> list[int]:
        """What `generate` of transformers adds to a prompt, greedily."""
        prompt = torch.tensor([tokens])
        options = {"do_sample": False, "pad_token_id": 0, **options}
        found = self._model.generate(  # type: ignore[operator]
            input_ids=prompt, attention_mask=torch.ones_like(prompt), **options
        )
        return list(found[0, len(tokens) :].tolist())


def capture_graphs(
    front: Front, *, max_rows: int, max_tokens: int = 200, capture: Capture = lambda step: step
) -> StepGraphs | None:
    """Capture the steps of a front's engine; off a GPU a replay runs the captured step again."""
    engine = front.engine
    return capture_steps(
        front.world.model,
        engine.cache,
        engine.arena,
        max_rows=max_rows,
        max_tokens=max_tokens,
        max_blocks=32,
        capture=capture,
    )
