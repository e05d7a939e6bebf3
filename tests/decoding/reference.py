"""What decode() is compared with: the training pass, and the beam search of transformers on one prompt."""

from collections.abc import Callable
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from raypeft.decoding import Candidate

NEW_TOKENS = 10

Build = Callable[..., PreTrainedModel | PeftModel]
Prompts = list[list[int]]


def assert_same(found: list[list[Candidate]], expected: list[list[Candidate]]) -> None:
    assert [[one.text for one in item] for item in found] == [[one.text for one in item] for item in expected]
    scores = [torch.tensor([[one.score for one in item] for item in side]) for side in (found, expected)]
    torch.testing.assert_close(*scores, rtol=0, atol=1e-5)


def training_score(model: PreTrainedModel | PeftModel, prompt: list[int], new: list[int]) -> float:
    """Mean log-probability of the new tokens in the loss that trains the model, right-padded."""
    if model.config.is_encoder_decoder:
        ids, labels = [*prompt], [*new, -100, -100]
    else:
        ids, labels = [*prompt, *new], [-100] * len(prompt) + [*new, -100, -100]
    batch = {"input_ids": [[*ids, 0, 0]], "attention_mask": [[1] * len(ids) + [0, 0]], "labels": [labels]}
    with torch.no_grad():
        return -model(**{name: torch.tensor(values) for name, values in batch.items()}).loss.item()


def search_alone(model: Any, tokenizer: PreTrainedTokenizerBase, prompt: list[int], **further: Any) -> list[Candidate]:
    """The beam search of transformers or peft on one prompt, nothing of ours in it."""
    ids = torch.tensor([prompt])
    output = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        num_beams=10,
        num_return_sequences=10,
        max_new_tokens=NEW_TOKENS,
        do_sample=False,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        return_dict_in_generate=True,
        output_scores=True,
        **further,
    )
    new = output.sequences[:, 1 if model.config.is_encoder_decoder else len(prompt) :].tolist()
    whole = [tokenizer.decode(row).partition("<eos>")[0].replace("<pad>", "").replace("<fim>", "") for row in new]
    return [Candidate(text, score) for text, score in zip(whole, output.sequences_scores.tolist(), strict=True)]
