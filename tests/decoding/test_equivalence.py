"""decode() against the training pass, against itself one prompt at a time, and against transformers' own search."""

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from raypeft.decoding import BeamSettings, decode, reading
from raypeft.decoding.reading import base_of

from .reference import NEW_TOKENS, Build, Prompts, assert_same, search_alone, training_score

ARCHITECTURES = ["llama", "codegen", "t5"]
TECHNIQUES = ["none", "lora", "ia3", "prompt_tuning", "prefix_tuning"]
FURTHER = [
    (architecture, technique)
    for architecture in ("gpt_neox", "qwen2", "starcoder2")
    for technique in ("none", "prompt_tuning", "prefix_tuning")
] + [(architecture, "p_tuning") for architecture in ARCHITECTURES]
EVERY = [(architecture, technique) for architecture in ARCHITECTURES for technique in TECHNIQUES] + FURTHER
SETTINGS = BeamSettings(max_new_tokens=NEW_TOKENS)


@pytest.mark.parametrize(("architecture", "technique"), EVERY)
def test_candidates_do_not_depend_on_the_batch(
    build: Build, tokenizer: PreTrainedTokenizerBase, prompts: Prompts, architecture: str, technique: str
) -> None:
    model = build(architecture, technique)
    together = decode(model, tokenizer, prompts, SETTINGS, batch_size=len(prompts))
    assert_same(together, decode(model, tokenizer, prompts, SETTINGS, batch_size=1))
    assert len({one.text for item in together for one in item}) > 10
    if technique != "none":
        plain = decode(build(architecture), tokenizer, prompts, SETTINGS, batch_size=len(prompts))
        changes = [abs(one.score - other.score) for one, other in zip(plain[0], together[0], strict=True)]
        assert max(changes) > 1e-2, "the adapter makes no difference"


@pytest.mark.parametrize(("architecture", "technique"), EVERY)
def test_scores_are_those_of_the_training_pass(
    build: Build,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Prompts,
    architecture: str,
    technique: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = build(architecture, technique)
    base, outputs = base_of(model), []
    generate = base.generate
    monkeypatch.setattr(base, "generate", lambda **inputs: outputs.append(generate(**inputs)) or outputs[-1])
    found = decode(model, tokenizer, prompts, SETTINGS, batch_size=len(prompts))

    (output,) = outputs
    candidates = [(prompt, one) for prompt, item in zip(prompts, found, strict=True) for one in item]
    ended = 0
    for (prompt, candidate), row in zip(candidates, output.sequences.tolist(), strict=True):
        new = row[1 : 1 + NEW_TOKENS]
        if tokenizer.eos_token_id in new:
            new = new[: new.index(tokenizer.eos_token_id) + 1]
        ended += new[-1] == tokenizer.eos_token_id
        assert candidate.text == tokenizer.decode(new, skip_special_tokens=True)
        assert candidate.score == pytest.approx(training_score(model, prompt, new), abs=1e-5)
    assert ended, "no candidate ends by itself, so that case is not compared"


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_equals_the_search_of_transformers_one_prompt_at_a_time(
    build: Build, tokenizer: PreTrainedTokenizerBase, prompts: Prompts, architecture: str, technique: str
) -> None:
    found = decode(build(architecture, technique), tokenizer, prompts, SETTINGS, batch_size=len(prompts))
    reference = build(architecture, technique)
    if technique in ("lora", "ia3"):
        reference = reference.merge_and_unload()
    assert_same(found, [search_alone(reference, tokenizer, prompt) for prompt in prompts])


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("architecture", ["llama", "codegen"])
def test_reading_a_common_beginning_once_changes_nothing(
    build: Build,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Prompts,
    architecture: str,
    technique: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = build(architecture, technique)
    examples = tokenizer.encode("### Instruction:\nsum of xs\n### Response:\nsum(xs)\n" * 3)
    shots = [[*examples, *prompt] for prompt in prompts]
    shared = decode(model, tokenizer, shots, SETTINGS, batch_size=len(prompts))
    monkeypatch.setattr(reading, "_common_length", lambda sequences: 0)
    assert_same(shared, decode(model, tokenizer, shots, SETTINGS, batch_size=len(prompts)))


@pytest.mark.parametrize("technique", ["none", "prompt_tuning", "prefix_tuning"])
@pytest.mark.parametrize("architecture", ["llama", "codegen"])
def test_extremes_of_common_beginnings(
    build: Build, tokenizer: PreTrainedTokenizerBase, architecture: str, technique: str
) -> None:
    model = build(architecture, technique)
    one, other = tokenizer.encode("define add\n"), tokenizer.encode("sort\n")
    for batch in ([one, one], [one, one[:-1]], [one[:1], other[:1]], [one, other, one[:1]]):
        alone = decode(model, tokenizer, batch, SETTINGS, batch_size=1)
        assert_same(decode(model, tokenizer, batch, SETTINGS, batch_size=3), alone)


def test_each_prompt_is_read_once(build: Build, tokenizer: PreTrainedTokenizerBase) -> None:
    model = build("llama", "prompt_tuning")
    begin = tokenizer.encode("### Instruction:\n")
    batch = [[*begin, *tokenizer.encode(text)] for text in ("define add", "xs", "sort")]
    shapes: list[tuple[int, ...]] = []
    hook = (
        model.get_base_model()
        .model.layers[0]
        .register_forward_hook(lambda module, inputs, output: shapes.append(tuple(inputs[0].shape[:2])))
    )
    decode(model, tokenizer, batch, BeamSettings(max_new_tokens=3), batch_size=3)
    hook.remove()
    rest = max(len(prompt) for prompt in batch) - len(begin) - 1
    assert shapes == [(1, 5), (1, len(begin)), (3, rest), (30, 1), (30, 1), (30, 1)]


def test_virtual_tokens_for_the_decoder_of_t5_reach_neither_training_nor_decoding(
    build: Build, tokenizer: PreTrainedTokenizerBase, prompts: Prompts
) -> None:
    model = build("t5", "prompt_tuning")
    before = decode(model, tokenizer, prompts, SETTINGS, batch_size=2)
    loss = training_score(model, prompts[0], prompts[1])
    (weight,) = (weight for weight in model.parameters() if weight.requires_grad)
    assert weight.shape[0] == 10
    with torch.no_grad():
        weight[5:] += 3
    assert training_score(model, prompts[0], prompts[1]) == loss
    assert decode(model, tokenizer, prompts, SETTINGS, batch_size=2) == before
    with torch.no_grad():
        weight[:5] += 3
    assert decode(model, tokenizer, prompts, SETTINGS, batch_size=2) != before
