"""Items as token ids: prompts, targets, and right-padded training batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from raypeft.data.prompts import Architecture, tuned_prompt
from raypeft.data.sources import Item

IGNORED = -100


@dataclass(frozen=True)
class Limits:
    """Most tokens of a prompt, template included, and of a target, its end-of-sequence token included."""

    prompt: int
    target: int


@dataclass(frozen=True)
class Encoded:
    """Token ids of one item; `cut` says which of prompt and target were shortened to the limits."""

    prompt: list[int]
    target: list[int]
    cut: tuple[str, ...] = ()


def prompt_ids(tokenizer: Any, text: str, architecture: Architecture) -> list[int]:
    """Token ids of a prompt with the tokenizer's own opening tokens; a decoder's prompt is left open at its end."""
    ids = list(tokenizer(text)["input_ids"])
    if architecture == "decoder" and ids and ids[-1] == tokenizer.eos_token_id:
        ids.pop()
    return ids


def fitted_prompt(tokenizer: Any, intent: str, architecture: Architecture, most: int) -> tuple[list[int], bool]:
    """Ids of the tuned prompt, and whether the intent had to be shortened at its end to keep the template whole."""
    ids = prompt_ids(tokenizer, tuned_prompt(intent, architecture), architecture)
    shortened = False
    words = tokenizer(intent, add_special_tokens=False)["input_ids"]
    while len(ids) > most and words:
        shortened = True
        words = words[: max(0, len(words) - (len(ids) - most))]
        # a cut inside a character decodes to U+FFFD
        kept = tokenizer.decode(words).rstrip("\ufffd")
        ids = prompt_ids(tokenizer, tuned_prompt(kept, architecture), architecture)
    return ids, shortened


def encode(tokenizer: Any, item: Item, architecture: Architecture, limits: Limits) -> Encoded:
    """Encode one training or validation item.

    A decoder's target is what follows the prompt's ids when prompt and code are tokenized as one text, since some
    tokenizers mark the start of a text; where the two do not line up, the code is tokenized by itself.
    A target over the limit loses its end, end-of-sequence token included.
    """
    prompt, shortened = fitted_prompt(tokenizer, item.intent, architecture, limits.prompt)
    target = list(tokenizer(item.code, add_special_tokens=False)["input_ids"])
    if architecture == "decoder":
        whole = prompt_ids(tokenizer, tuned_prompt(item.intent, architecture) + item.code, architecture)
        if not shortened and whole[: len(prompt)] == prompt:
            target = whole[len(prompt) :]
    target.append(tokenizer.eos_token_id)
    cut = (("prompt",) if shortened else ()) + (("target",) if len(target) > limits.target else ())
    return Encoded(prompt, target[: limits.target], cut)


class Collator:
    """Right-padded batches; loss on the target only, everything else carries -100.

    Right padding gives the unpadded loss for every technique; left padding does not for virtual tokens.
    """

    def __init__(self, pad_id: int, architecture: Architecture) -> None:
        self.pad_id = pad_id
        self.architecture = architecture

    def features(self, item: Encoded) -> dict[str, list[int]]:
        """Ids and labels of one item: one sequence for a decoder, source and target for an encoder-decoder."""
        if self.architecture == "encoder_decoder":
            return {"input_ids": item.prompt, "labels": item.target}
        return {
            "input_ids": item.prompt + item.target,
            "labels": [IGNORED] * len(item.prompt) + item.target,
        }

    def __call__(self, rows: Sequence[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        """A batch of tensors, each of shape (rows, longest)."""
        inputs = [row["input_ids"] for row in rows]
        return {
            "input_ids": _padded(inputs, self.pad_id),
            "attention_mask": _padded([[1] * len(ids) for ids in inputs], 0),
            "labels": _padded([row["labels"] for row in rows], IGNORED),
        }


def _padded(rows: Sequence[list[int]], value: int) -> torch.Tensor:
    longest = max(len(row) for row in rows)
    return torch.tensor([row + [value] * (longest - len(row)) for row in rows], dtype=torch.long)
