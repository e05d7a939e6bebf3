"""The replication package's stop rule, against a beam search written out here that reads the text of each beam."""

from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from raypeft.decoding import BeamSettings, Candidate, decode
from raypeft.decoding.criteria import AllBeamsEnd

from .reference import NEW_TOKENS, Build, Prompts, assert_same

BEAMS = 10


def log_probabilities(model: Any, prompt: list[int], rows: list[list[int]]) -> torch.Tensor:
    """Of the token after each row, by a whole forward pass without a cache."""
    if model.config.is_encoder_decoder:
        decoder = [[model.config.decoder_start_token_id, *row] for row in rows]
        inputs = {"input_ids": torch.tensor([prompt] * len(rows)), "decoder_input_ids": torch.tensor(decoder)}
    else:
        inputs = {"input_ids": torch.tensor([[*prompt, *row] for row in rows])}
    with torch.no_grad():
        logits = model(**inputs).logits[:, -1].float()
    return logits.log_softmax(dim=-1)


def package_search(
    model: Any, tokenizer: PreTrainedTokenizerBase, prompt: list[int], stops: tuple[str, ...]
) -> tuple[list[Candidate], bool]:
    """Candidates of one prompt, and whether stop strings ended the search before its last token."""
    running: list[tuple[float, list[int]]] = [(0.0, [])]
    finished: list[tuple[float, list[int]]] = []
    for length in range(1, NEW_TOKENS + 1):
        scores = log_probabilities(model, prompt, [row for _, row in running])
        scores += torch.tensor([[score] for score, _ in running])
        best = scores.flatten().topk(2 * BEAMS)
        width = scores.shape[1]
        going = []
        for rank, (score, at) in enumerate(zip(best.values.tolist(), best.indices.tolist(), strict=True)):
            row = [*running[at // width][1], at % width]
            if row[-1] != tokenizer.eos_token_id:
                going.append((score, row))
            elif rank < BEAMS:
                finished.append((score / length, row[:-1]))
        running = going[:BEAMS]
        finished = sorted(finished, reverse=True)[:BEAMS]
        stopped = all(any(stop in tokenizer.decode(row) for stop in stops) for _, row in running)
        if length == NEW_TOKENS or stopped:
            finished += [(score / length, row) for score, row in running]
            break
        if len(finished) == BEAMS and finished[-1][0] >= running[0][0] / length:
            break
    candidates = []
    for score, row in sorted(finished, reverse=True)[:BEAMS]:
        text = tokenizer.decode(row, skip_special_tokens=True).strip()
        for stop in stops:
            text = text.split(stop)[0]
        candidates.append(Candidate(text, score))
    return candidates, stopped and length < NEW_TOKENS


@pytest.mark.parametrize("stops", [("\n", "e"), ("a", "e", "s", "\n")], ids=repr)
@pytest.mark.parametrize("architecture", ["llama", "codegen", "t5"])
def test_equals_a_search_that_reads_the_text_of_each_beam(
    build: Build, tokenizer: PreTrainedTokenizerBase, prompts: Prompts, architecture: str, stops: tuple[str, ...]
) -> None:
    model = build(architecture)
    settings = BeamSettings(max_new_tokens=NEW_TOKENS, stop_strings=stops, stop_rule="package")
    together = decode(model, tokenizer, prompts, settings, batch_size=len(prompts))
    expected = [package_search(model, tokenizer, prompt, (*stops, "</s>", "<|endoftext|>")) for prompt in prompts]
    assert_same(together, [candidates for candidates, _ in expected])
    assert_same(decode(model, tokenizer, prompts, settings, batch_size=1), together)
    assert any(stopped for _, stopped in expected), "no search is ended by a stop string"
    each = BeamSettings(max_new_tokens=NEW_TOKENS, stop_strings=stops)
    assert decode(model, tokenizer, prompts, each, batch_size=len(prompts)) != together


@pytest.mark.parametrize("technique", ["lora", "prompt_tuning", "prefix_tuning"])
@pytest.mark.parametrize("architecture", ["llama", "t5"])
def test_candidates_of_an_adapter_do_not_depend_on_the_batch(
    build: Build, tokenizer: PreTrainedTokenizerBase, prompts: Prompts, architecture: str, technique: str
) -> None:
    model = build(architecture, technique)
    settings = BeamSettings(max_new_tokens=NEW_TOKENS, stop_strings=("\n", "e", "a"), stop_rule="package")
    together = decode(model, tokenizer, prompts, settings, batch_size=len(prompts))
    assert_same(together, decode(model, tokenizer, prompts, settings, batch_size=1))


def test_the_criterion_asks_the_running_beams_alone(tokenizer: PreTrainedTokenizerBase) -> None:
    (stop,), (other,), end = tokenizer.encode("\n"), tokenizer.encode("x"), tokenizer.eos_token_id
    criterion = AllBeamsEnd(tokenizer, ["\n"], start=1, beams=2, ends=[end])

    def asked(*prompts: list[list[int]]) -> list[bool]:
        """The prompt's last token, then two new ones, for four continuations of each prompt."""
        return criterion(torch.tensor([[stop, *row] for rows in prompts for row in rows]), None).tolist()[::4]

    both, late, early, none = [stop, stop], [other, stop], [stop, other], [other, other]
    ended = [other, end]
    assert asked([late, early, none, none]) == [True]
    assert asked([late, none, early, both]) == [False]
    assert asked([ended, late, early, none]) == [True]
    assert asked([ended, late, none, early]) == [False]
    assert asked([ended, ended, both, both], [late, none, late, late]) == [True, False]
