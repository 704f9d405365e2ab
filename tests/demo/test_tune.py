"""The committed adapters: each answers as its desk, and its recipe lies beside it."""

import json
from pathlib import Path

import pytest
import yaml

from weft.adapters.lora import CONFIG_FILE, WEIGHTS_FILE
from weft.demo.places import ADAPTERS, DATA
from weft.demo.story import DESKS, JOB
from weft.demo.tune import JOB_FILE, read_job_options, tune

from .answering import QUESTIONS, Question, answer

SAYS = {"returns": "return", "technical": "Step 1:", "sales": "percent off"}


def test_adapters_are_those_that_the_demo_publishes() -> None:
    assert {path.name for path in ADAPTERS.iterdir()} == set(DESKS) == set(SAYS)


@pytest.mark.parametrize("name", DESKS)
@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.order)
def test_an_adapter_answers_as_its_desk_about_the_same_order(name: str, question: Question) -> None:
    answered = answer(question.text, name)
    assert SAYS[name] in answered
    assert question.order in answered
    assert question.product in answered
    assert SAYS[name] not in answer(question.text)


@pytest.mark.parametrize("name", DESKS)
def test_the_job_beside_an_adapter_has_its_seed_and_its_shape(name: str) -> None:
    options = read_job_options(ADAPTERS / name / JOB_FILE)
    config = json.loads((ADAPTERS / name / CONFIG_FILE).read_text())
    assert options.seed is not None
    assert config["r"] == options.lora.rank
    assert config["lora_alpha"] == (options.lora.alpha or 2 * options.lora.rank)


def test_one_job_file_gives_one_adapter_bit_for_bit(tmp_path: Path) -> None:
    job = yaml.safe_load(JOB.read_text())
    job["limits"]["max_steps"] = 2
    job["optimisation"]["batch_tokens"] = 256
    (tmp_path / JOB_FILE).write_text(yaml.safe_dump(job))
    for name in ("first", "second"):
        tune(tmp_path / JOB_FILE, DATA / "json.jsonl", tmp_path / name)
    for file in (CONFIG_FILE, WEIGHTS_FILE):
        contents = [(tmp_path / name / file).read_bytes() for name in ("first", "second")]
        assert contents[0] == contents[1]
