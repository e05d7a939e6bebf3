"""How models are prompted: intents in, texts out, and texts as token ids."""

import random
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from raypeft.data.sources import Item
from raypeft.spec.catalogue import Architecture
from raypeft.spec.protocol import Protocol

TASK_PREFIX = "Generate Python code: "
ICL_HEADER = "Generate Python code given a natural language instruction."
SENTINEL = "<extra_id_0>"


class Prompts(typing.Protocol):
    """What is asked of a way to prompt one model."""

    @property
    def tokenizer(self) -> Any:
        """Of the model."""

    @property
    def architecture(self) -> Architecture:
        """Of the model."""

    @property
    def end(self) -> int:
        """Id of the token that ends a target, and in decoding a candidate."""

    @property
    def own_tokens(self) -> int:
        """Tokens of the template itself that the limit of prompts does not count."""

    def training(self, intent: str) -> str:
        """Prompt that a model is tuned with."""

    def test(self, intent: str) -> str:
        """Prompt that a tuned model is tested with."""

    def icl(self, intent: str, examples: Sequence[Item]) -> str:
        """Prompt of a model that is not tuned, with examples."""

    def ids(self, text: str) -> list[int]:
        """Token ids of a prompt, or of a prompt and what follows it."""

    def check(self) -> None:
        """Fail where the way to prompt does."""


@dataclass(frozen=True)
class InstructionPrompts:
    """The paper's template (table 2), with what the study's protocol says of it."""

    tokenizer: Any
    architecture: Architecture
    protocol: Protocol
    own_tokens: int = 0

    @property
    def end(self) -> int:
        """The tokenizer's end-of-sequence token."""
        return int(self.tokenizer.eos_token_id)

    @property
    def _encoder(self) -> bool:
        return self.architecture == "encoder_decoder"

    def _template(self, intent: str) -> str:
        header = "Answer" if self.protocol.response_header == "answer" else "Response"
        return f"### Instruction:\n{intent}\n### {header}:\n"

    def training(self, intent: str) -> str:
        """The template; for an encoder-decoder after the package's task prefix."""
        prefix = TASK_PREFIX if self._encoder and self.protocol.task_prefix == "package" else ""
        return prefix + self._template(intent)

    def test(self, intent: str) -> str:
        """The training prompt, or the package's, which differs from it."""
        if self.protocol.test_prompt == "paper":
            return self.training(intent)
        return self._template(intent) + SENTINEL if self._encoder else "\n" + self._template(intent)

    def icl(self, intent: str, examples: Sequence[Item]) -> str:
        """The templates of the examples and the intent one after the other, under the package's header."""
        shots = "".join(f"\n{self._template(item.intent)}{item.code}\n" for item in examples)
        prompt = f"{shots}\n{self._template(intent)}"
        prompt = ICL_HEADER + prompt if self.protocol.icl_prompt == "package" else prompt.removeprefix("\n")
        return prompt + SENTINEL if self._encoder and self.protocol.test_prompt == "package" else prompt

    def check(self) -> None:
        """Nothing: the template is the package's own."""

    def ids(self, text: str) -> list[int]:
        """With the tokenizer's own opening tokens; a decoder's text is left open at its end."""
        ids = list(self.tokenizer(text)["input_ids"])
        if not self._encoder and ids and ids[-1] == self.tokenizer.eos_token_id:
            ids.pop()
        return ids


def draw_examples(train: Sequence[Item], count: int, seed: int) -> list[Item]:
    """Examples of one ICL run, drawn without replacement, the same for every test item.

    Raises:
        ValueError: more examples than items.
    """
    return random.Random(seed).sample(list(train), count)
