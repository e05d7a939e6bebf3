"""What decode() promises besides the candidates: order, counts, settings, and a model left as it was."""

import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import GenerationConfig, PreTrainedTokenizerBase

from raypeft.decoding import BeamSettings, decode, search
from raypeft.errors import UserError

from .conftest import adapted
from .reference import Build, Prompts, assert_same

SETTINGS = BeamSettings(beams=4, candidates=4, max_new_tokens=6)


@pytest.mark.parametrize("architecture", ["llama", "t5"])
def test_results_come_in_the_order_of_the_prompts(
    build: Build, tokenizer: PreTrainedTokenizerBase, prompts: Prompts, architecture: str
) -> None:
    model = build(architecture)
    mixed = [prompts[at] for at in (2, 0, 3, 1, 3)]
    alone = [decode(model, tokenizer, [prompt], SETTINGS, batch_size=1)[0] for prompt in mixed]
    for batch_size, batches in ((1, [1] * 5), (2, [2, 2, 1]), (5, [5]), (64, [5])):
        done: list[int] = []
        assert_same(decode(model, tokenizer, mixed, SETTINGS, batch_size=batch_size, progress=done.append), alone)
        assert done == batches
    assert [len(item) for item in alone] == [4] * 5
    assert all(item == sorted(item, key=lambda one: -one.score) for item in alone)


@pytest.mark.parametrize("architecture", ["llama", "t5"])
def test_one_cache_is_held_at_a_time(
    build: Build,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Prompts,
    architecture: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The estimate of memory counts one: found on a GPU, where the second batch of a large model did not fit."""
    name = "read_encoder_inputs" if architecture == "t5" else "read_decoder_prompts"
    read, caches, alive = getattr(search, name), [], []

    def watched(*arguments: Any, **more: Any) -> dict[str, Any]:
        alive.append(sum(cache() is not None for cache in caches))
        inputs = read(*arguments, **more)
        caches.append(weakref.ref(inputs["past_key_values"]))
        return inputs

    monkeypatch.setattr(search, name, watched)
    decode(build(architecture), tokenizer, prompts, SETTINGS, batch_size=1)
    assert alive == [0] * len(prompts)


def test_no_prompts_give_no_results(build: Build, tokenizer: PreTrainedTokenizerBase) -> None:
    assert decode(build("llama"), tokenizer, [], SETTINGS, batch_size=4) == []


@pytest.mark.parametrize("architecture", ["llama", "t5"])
def test_fewer_candidates_are_the_first_ones(
    build: Build, tokenizer: PreTrainedTokenizerBase, prompts: Prompts, architecture: str
) -> None:
    every = decode(build(architecture), tokenizer, prompts, SETTINGS, batch_size=4)
    few = BeamSettings(beams=4, candidates=2, max_new_tokens=6)
    assert decode(build(architecture), tokenizer, prompts, few, batch_size=4) == [item[:2] for item in every]


@pytest.mark.parametrize("architecture", ["llama", "codegen", "t5"])
def test_the_model_is_evaluated_and_left_as_it_was(
    build: Build, tokenizer: PreTrainedTokenizerBase, prompts: Prompts, architecture: str
) -> None:
    expected = decode(build(architecture, "lora"), tokenizer, prompts, SETTINGS, batch_size=2)
    model = build(architecture, "lora")
    base = model.get_base_model()
    base.gradient_checkpointing_enable()
    base.config.use_cache = False
    model.train()
    frozen = base.get_input_embeddings()
    frozen.eval()
    own = GenerationConfig(
        do_sample=True, temperature=3.0, repetition_penalty=5.0, max_length=7, min_new_tokens=5, early_stopping=True,
        no_repeat_ngram_size=1, length_penalty=-2.0, eos_token_id=9,
    )  # fmt: skip
    base.generation_config = own
    assert_same(decode(model, tokenizer, prompts, SETTINGS, batch_size=2), expected)
    assert base.generation_config is own
    assert [module for module in model.modules() if not module.training] == [frozen]
    assert all(weight.grad is None and not weight.is_inference() for weight in model.parameters())
    ids = torch.tensor([prompts[0]])
    model(input_ids=ids, labels=ids).loss.backward()


def test_the_model_is_restored_after_an_error(
    build: Build, tokenizer: PreTrainedTokenizerBase, prompts: Prompts
) -> None:
    model = build("llama").train()

    def fail(done: int) -> None:
        raise RuntimeError("stop here")

    with pytest.raises(RuntimeError, match="stop here"):
        decode(model, tokenizer, prompts, SETTINGS, batch_size=1, progress=fail)
    assert all(module.training for module in model.modules())


def test_special_end_tokens_of_the_generation_configuration_end_candidates_too(
    build: Build, tokenizer: PreTrainedTokenizerBase, prompts: Prompts, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build("llama")
    model.generation_config.eos_token_id = [tokenizer.convert_tokens_to_ids("<fim>")]
    configs = []
    generate = model.generate
    monkeypatch.setattr(
        model, "generate", lambda **inputs: configs.append(inputs["generation_config"]) or generate(**inputs)
    )
    decode(model, tokenizer, prompts[:1], SETTINGS, batch_size=1)
    tokenizer_end, further_end = configs[0].eos_token_id
    assert tokenizer.convert_ids_to_tokens([tokenizer_end, further_end]) == ["<eos>", "<fim>"]


def test_scores_of_the_whole_vocabulary_are_not_kept(
    build: Build, tokenizer: PreTrainedTokenizerBase, prompts: Prompts, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, outputs = build("llama"), []
    generate = model.generate
    monkeypatch.setattr(model, "generate", lambda **inputs: outputs.append(generate(**inputs)) or outputs[-1])
    decode(model, tokenizer, prompts, SETTINGS, batch_size=4)
    assert len(outputs[0].scores) == 6
    assert sum(step.untyped_storage().nbytes() for step in outputs[0].scores) == 0


@pytest.mark.parametrize("technique", ["none", "lora", "prompt_tuning", "prefix_tuning"])
@pytest.mark.parametrize("architecture", ["llama", "codegen", "t5"])
def test_nothing_is_printed(
    build: Build,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Prompts,
    architecture: str,
    technique: str,
    capfd: pytest.CaptureFixture[str],
    recwarn: pytest.WarningsRecorder,
) -> None:
    model = build(architecture, technique)
    capfd.readouterr()
    recwarn.clear()
    settings = BeamSettings(beams=4, candidates=4, max_new_tokens=6, stop_strings=("\n",))
    decode(model, tokenizer, prompts, settings, batch_size=2)
    assert capfd.readouterr() == ("", "")
    assert [str(warning.message) for warning in recwarn] == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beams": 1, "candidates": 1}, "beams is 1, but must be at least 2"),
        ({"beams": 4, "candidates": 5}, "candidates is 5, but must be between 1 and beams"),
        ({"candidates": 0}, "candidates is 0, but must be between 1 and beams"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0, but must be at least 1"),
        ({"stop_strings": ("\n", "")}, "stop_strings has an empty string"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        BeamSettings(**settings)


def test_prompts_without_tokens_and_empty_batches_are_refused(
    build: Build, tokenizer: PreTrainedTokenizerBase, prompts: Prompts
) -> None:
    with pytest.raises(UserError, match="prompt 1: the prompt has no tokens"):
        decode(build("llama"), tokenizer, [prompts[0], []], SETTINGS, batch_size=2)
    with pytest.raises(UserError, match="batch_size is 0"):
        decode(build("llama"), tokenizer, prompts, SETTINGS, batch_size=0)


@pytest.mark.parametrize("technique", ["lora", "ia3", "prompt_tuning", "prefix_tuning"])
@pytest.mark.parametrize("architecture", ["llama", "codegen", "t5"])
def test_a_saved_adapter_decodes_as_the_trained_one(
    build: Build,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Prompts,
    architecture: str,
    technique: str,
    tmp_path: Path,
) -> None:
    trained = build(architecture, technique)
    trained.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(build(architecture), tmp_path)
    expected = decode(trained, tokenizer, prompts, SETTINGS, batch_size=4)
    assert decode(loaded, tokenizer, prompts, SETTINGS, batch_size=4) == expected


@pytest.mark.parametrize("technique", ["none", "lora", "prompt_tuning", "prefix_tuning"])
@pytest.mark.parametrize("architecture", ["llama", "codegen", "t5"])
def test_half_precision_comes_close(
    build: Build, tokenizer: PreTrainedTokenizerBase, prompts: Prompts, architecture: str, technique: str
) -> None:
    half = build(architecture, "none").to(torch.bfloat16)
    model = half if technique == "none" else adapted(half, architecture, technique)
    exact = decode(build(architecture, technique), tokenizer, prompts, SETTINGS, batch_size=4)
    found = decode(model, tokenizer, prompts, SETTINGS, batch_size=4)
    for item, reference in zip(found, exact, strict=True):
        assert item[0].score == pytest.approx(reference[0].score, abs=0.25)
