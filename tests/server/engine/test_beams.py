"""The search of transformers, on log-probabilities that need no model."""

from dataclasses import replace

import pytest
import torch
from msgspec import structs
from transformers import GenerationConfig, GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.generation.utils import GenerateBeamDecoderOnlyOutput
from transformers.modeling_outputs import CausalLMOutput

from weft.server.channel import Beams, EarlyStopping, Sampling, Submit
from weft.server.engine.beams import BeamSearch, Candidate, check_beams
from weft.server.engine.limits import Limits
from weft.server.errors import RequestInvalid

from .plans import LIMITS

VOCABULARY = 24
PROMPT = [3, 1, 4]
EARLY = {EarlyStopping.HEURISTIC: False, EarlyStopping.FIRST: True, EarlyStopping.NEVER: "never"}
REQUEST = Submit(
    stream=1,
    digest=None,
    tokens=PROMPT,
    sampling=Sampling(),
    max_tokens=7,
    stop_tokens=frozenset([0, 5]),
    salt="",
)


def logits_of(tokens: list[int], *, end_bias: float) -> torch.Tensor:
    """A model: logits that depend on everything before, with ends as likely as it is told."""
    generator = torch.Generator().manual_seed(hash(tuple(tokens)) % 2**31)
    logits = 2 * torch.randn(VOCABULARY, generator=generator)
    logits[[0, 5]] += end_bias
    return logits


class Toy(PreTrainedModel, GenerationMixin):
    """That model, for `generate`."""

    def __init__(self, end_bias: float) -> None:
        super().__init__(PretrainedConfig())
        self.generation_config = GenerationConfig(use_cache=False)
        self._end_bias = end_bias

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def forward(self, input_ids: torch.Tensor, **_: object) -> CausalLMOutput:
        rows = [logits_of(row, end_bias=self._end_bias) for row in input_ids.tolist()]
        return CausalLMOutput(logits=torch.stack(rows)[:, None])


def search(request: Submit, *, end_bias: float) -> BeamSearch:
    """Run a search to its end."""
    found = BeamSearch(request)
    beams = [request.tokens]
    while True:
        scores = torch.stack([logits_of(b, end_bias=end_bias) for b in beams]).log_softmax(-1)
        scores += torch.tensor(found.scores)[:, None]
        top = scores.flatten().topk(found.num_candidates)
        candidates = [
            Candidate(place // VOCABULARY, place % VOCABULARY, score)
            for place, score in zip(top.indices.tolist(), top.values.tolist(), strict=True)
        ]
        living = found.advance(candidates, beams)
        if not living:
            return found
        beams = [[*beams[c.beam], c.token] for c in living]


@pytest.mark.parametrize("early", EarlyStopping)
@pytest.mark.parametrize("length_penalty", [-1.0, 0.0, 1.0, 2.5])
@pytest.mark.parametrize("end_bias", [-2.0, 0.0, 2.5])
def test_hypotheses_and_scores_are_those_of_transformers(
    early: EarlyStopping, length_penalty: float, end_bias: float
) -> None:
    lengths = set()
    for num in (2, 3, 5):
        beams = Beams(num, num, length_penalty, early)
        request = structs.replace(REQUEST, beams=beams)
        found = search(request, end_bias=end_bias).best
        expected = Toy(end_bias).generate(  # type: ignore[misc]
            torch.tensor([PROMPT]),
            max_new_tokens=request.max_tokens,
            do_sample=False,
            num_beams=num,
            num_return_sequences=num,
            length_penalty=length_penalty,
            early_stopping=EARLY[early],
            eos_token_id=[0, 5],
            pad_token_id=VOCABULARY - 1,
            return_dict_in_generate=True,
            output_scores=True,
        )
        assert isinstance(expected, GenerateBeamDecoderOnlyOutput)
        assert expected.sequences_scores is not None
        rows = expected.sequences[:, len(PROMPT) :].tolist()
        assert [h.tokens for h in found] == [
            row[: len(h.tokens)] for row, h in zip(rows, found, strict=True)
        ]
        for row, hypothesis in zip(rows, found, strict=True):
            ended = hypothesis.tokens[-1] in REQUEST.stop_tokens
            assert hypothesis.reason == ("stop" if ended else "length")
            assert not set(hypothesis.tokens[:-1]) & REQUEST.stop_tokens
            assert set(row[len(hypothesis.tokens) :]) <= {VOCABULARY - 1}
            lengths.add(len(hypothesis.tokens))
        assert [h.score for h in found] == pytest.approx(expected.sequences_scores.tolist())
    assert len(lengths) > 1 or end_bias < 2 or length_penalty > 1, "nothing has ended early"


def test_only_the_best_are_told() -> None:
    all_of_them = search(structs.replace(REQUEST, beams=Beams(4, 4)), end_bias=0.0).best
    best = search(structs.replace(REQUEST, beams=Beams(4, 2)), end_bias=0.0).best
    assert best == all_of_them[:2]


@pytest.mark.parametrize(
    ("num", "limits", "num_blocks", "found"),
    [
        (5, replace(LIMITS, max_sequences=4), 99, "5 rows of a step, this server has 4"),
        (5, replace(LIMITS, max_batch_tokens=4), 99, "5 tokens of a step, this server has 4"),
        (8, replace(LIMITS, vocab_size=25), 99, "26 tokens to choose from, this server has 25"),
        (4, LIMITS, 9, "10 KV blocks at max_tokens, this server has 9"),
    ],
)
def test_what_can_never_fit_is_refused(
    num: int, limits: Limits, num_blocks: int, found: str
) -> None:
    request = structs.replace(REQUEST, tokens=list(range(9)), beams=Beams(num))
    with pytest.raises(RequestInvalid, match=f"num_beams: {num} beams may need {found}"):
        check_beams(request, limits, num_blocks=num_blocks, block_tokens=4)
