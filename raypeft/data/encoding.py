"""Items as token ids: prompts, targets, and right-padded training batches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from raypeft.data.prompts import Prompts
from raypeft.data.sources import Item
from raypeft.spec.catalogue import Architecture
from raypeft.spec.protocol import Truncation

IGNORED = -100


@dataclass(frozen=True)
class Limits:
    """How long an item may be.

    Attributes:
        prompt: most tokens of a prompt, template included (of a chat, its template does not count).
        target: most tokens of a target, its end-of-sequence token included.
        truncation: what of a longer item goes, as the protocol says.
    """

    prompt: int
    target: int
    truncation: Truncation = "intent"


@dataclass(frozen=True)
class Encoded:
    """Token ids of one item; `cut` says which of prompt and target were shortened to the limits."""

    prompt: list[int]
    target: list[int]
    cut: tuple[str, ...] = ()


def encode_prompt(prompts: Prompts, intent: str, limits: Limits) -> tuple[list[int], bool]:
    """Ids of a tuned model's prompt at test time, and whether it was shortened."""
    if limits.truncation == "package":
        return prompts.ids(prompts.test(intent)), False
    return _fitted(prompts, prompts.test, intent, limits.prompt)


def _fitted(prompts: Prompts, render: Callable[[str], str], intent: str, most: int) -> tuple[list[int], bool]:
    """Ids of a prompt, and whether the intent had to be shortened at its end to keep the template whole."""
    most += prompts.own_tokens
    ids = prompts.ids(render(intent))
    shortened = False
    words = prompts.tokenizer(intent, add_special_tokens=False)["input_ids"]
    while len(ids) > most and words:
        shortened = True
        words = words[: max(0, len(words) - (len(ids) - most))]
        # a cut inside a character decodes to U+FFFD
        kept = prompts.tokenizer.decode(words).rstrip("\ufffd")
        ids = prompts.ids(render(kept))
    return ids, shortened


def encode(prompts: Prompts, item: Item, limits: Limits) -> Encoded:
    """Encode one training or validation item.

    A decoder's target is what follows the prompt's ids when prompt and code are tokenized as one text, since some
    tokenizers mark the start of a text; where the two do not line up, the code is tokenized by itself.
    """
    text = prompts.training(item.intent)
    prompt = prompts.ids(text)
    whole = prompts.ids(text + item.code) if prompts.architecture == "decoder" else []
    if whole[: len(prompt)] == prompt:
        target = whole[len(prompt) :]
    else:
        target = list(prompts.tokenizer(item.code, add_special_tokens=False)["input_ids"])
    target.append(prompts.end)
    if limits.truncation == "package":
        return _cut(prompts, prompt, target, limits)
    prompt, shortened = _fitted(prompts, prompts.training, item.intent, limits.prompt)
    return Encoded(prompt, target[: limits.target], _parts(shortened, len(target) > limits.target))


def _cut(prompts: Prompts, prompt: list[int], target: list[int], limits: Limits) -> Encoded:
    """The replication package's way: ends are cut and closing tokens kept; a decoder's prompt fills what is left."""
    most = limits.prompt + prompts.own_tokens
    kept = target if len(target) <= limits.target else [*target[: limits.target - 1], prompts.end]
    if prompts.architecture == "decoder":
        most += limits.target - len(kept)
        fitted = prompt[:most]
    else:
        closing = prompt[-1:] if prompt[-1] == prompts.end else []
        fitted = prompt if len(prompt) <= most else prompt[: most - len(closing)] + closing
    return Encoded(fitted, kept, _parts(len(prompt) > most, len(target) > limits.target))


def _parts(prompt: bool, target: bool) -> tuple[str, ...]:
    return ("prompt",) * prompt + ("target",) * target


class Collator:
    """Right-padded batches; loss on the target only, everything else carries -100.

    Right padding gives the unpadded loss for every technique; left padding does not for virtual tokens.

    Args:
        pad_id: padding of inputs.
        architecture: of the model.
        least: lengths of inputs and labels that every batch is padded to, and beyond where an item is longer.
    """

    def __init__(self, pad_id: int, architecture: Architecture, least: tuple[int, int] = (0, 0)) -> None:
        self.pad_id = pad_id
        self.architecture = architecture
        self.least = least

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
        inputs, labels = [row["input_ids"] for row in rows], [row["labels"] for row in rows]
        wide, long = self.least
        return {
            "input_ids": _padded(inputs, self.pad_id, wide),
            "attention_mask": _padded([[1] * len(ids) for ids in inputs], 0, wide),
            "labels": _padded(labels, IGNORED, long),
        }


def full_lengths(prompts: Prompts, limits: Limits) -> tuple[int, int]:
    """Lengths of inputs and labels that no item exceeds."""
    prompt = limits.prompt + prompts.own_tokens
    if prompts.architecture == "encoder_decoder":
        return prompt, limits.target
    return prompt + limits.target, prompt + limits.target


def _padded(rows: Sequence[list[int]], value: int, least: int) -> torch.Tensor:
    longest = max(least, *(len(row) for row in rows))
    return torch.tensor([row + [value] * (longest - len(row)) for row in rows], dtype=torch.long)
