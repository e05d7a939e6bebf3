"""The embedded models load with the Auto classes, with the sizes the documentation states."""

import hashlib
import re
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from raypeft.embedded import MODELS

TEXTS = (
    "### Instruction:\nsort `xs`\n### Response:\n",
    "  héllo wörld \n\t\x00 日本語 🎉  a_b__C  x=1\r\n ' .x , ( isn't",
    "print(f'{x:,}')\n    return {**a, **b}  # 12345 __init__ Ωμέγα \u200d\ufeff",
)
CLASSES = {"tiny-decoder": AutoModelForCausalLM, "tiny-encoder-decoder": AutoModelForSeq2SeqLM}
ARCHITECTURES = {
    "tiny-decoder": ("LlamaForCausalLM", 1_049_728),
    "tiny-encoder-decoder": ("T5ForConditionalGeneration", 1_575_296),
}


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.parametrize("name", MODELS)
def test_loads_as_float32_with_the_stated_size(name):
    model = CLASSES[name].from_pretrained(MODELS[name])
    assert (type(model).__name__, model.num_parameters()) == ARCHITECTURES[name]
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert getattr(model.config, "max_position_embeddings", 1024) == 1024
    assert (MODELS[name] / "model.safetensors").stat().st_size < 3_500_000


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("text", TEXTS)
def test_tokenizer_round_trips_any_text(name, text):
    tokenizer = AutoTokenizer.from_pretrained(MODELS[name])
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


@pytest.mark.parametrize("name", MODELS)
def test_special_tokens_agree_with_the_model(name):
    tokenizer = AutoTokenizer.from_pretrained(MODELS[name])
    model = CLASSES[name].from_pretrained(MODELS[name])
    assert len(tokenizer) == model.config.vocab_size == 1536
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (0, 1)
    for config in (model.config, model.generation_config):
        assert (config.pad_token_id, config.eos_token_id) == (0, 1)
    ends = tokenizer("x")["input_ids"][-1] == tokenizer.eos_token_id
    assert ends == model.config.is_encoder_decoder


def test_every_name_survives_a_save_and_load(tmp_path):
    for name, folder in MODELS.items():
        AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path / name)
        again = AutoTokenizer.from_pretrained(tmp_path / name)
        assert again(TEXTS[1])["input_ids"] == AutoTokenizer.from_pretrained(folder)(TEXTS[1])["input_ids"]


def test_files_are_the_ones_the_documentation_names():
    package = MODELS["tiny-decoder"].parents[1]
    readme = (Path(__file__).parents[2] / "embedded" / "README.md").read_text(encoding="utf-8")
    stated = dict(re.findall(r"^\| (\S+) \| `([0-9a-f]{64})` \|$", readme, re.MULTILINE))
    assert len(stated) == 7
    assert {name: hashlib.sha256((package / name).read_bytes()).hexdigest() for name in stated} == stated
