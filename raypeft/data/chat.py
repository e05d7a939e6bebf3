"""Prompts by the chat template that an instruct model brings along."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from raypeft.data.prompts import TASK_PREFIX, InstructionPrompts
from raypeft.data.sources import Item
from raypeft.errors import UserError
from raypeft.spec.catalogue import Architecture, ModelEntry
from raypeft.spec.protocol import Protocol

# Some templates tell the day, some let the model think aloud first: neither belongs into a repeatable prompt for code.
OPTIONS = {"date_string": "26 Jul 2024", "enable_thinking": False}
MARK = "CODE"


class ChatPrompts:
    """The intent as a user's turn, code as the assistant's (`tokenizer.apply_chat_template`).

    Args:
        tokenizer: of the model.
        architecture: of the model.
        where: the model, for messages.

    Raises:
        UserError: the tokenizer has no chat template.
    """

    def __init__(self, tokenizer: Any, architecture: Architecture, where: str) -> None:
        if not tokenizer.chat_template:
            raise UserError(
                "is to be prompted by chat, but its tokenizer has no chat template",
                where=where,
                hint="Prompt it with prompt_style: instruction, or take the instruct variant of the model.",
            )
        self.tokenizer = tokenizer
        self.architecture = architecture
        self.where = where

    def check(self) -> None:
        """Render what a study asks for, once.

        Raises:
            UserError: the template fails.
        """
        example = Item("", MARK, MARK)
        self.ids(self.icl(MARK, [example]))
        _ = self.end, self.own_tokens

    @cached_property
    def end(self) -> int:
        """The token that the template ends the assistant's turn with; where there is none, end of sequence."""
        turns = [*_turns("", []), {"role": "assistant", "content": MARK}]
        text = self._rendered(turns, add_generation_prompt=False)
        special = {index for index, token in self.tokenizer.added_tokens_decoder.items() if token.special}
        after = self.ids(text.rpartition(MARK)[2])
        return next((index for index in after if index in special), int(self.tokenizer.eos_token_id))

    @cached_property
    def own_tokens(self) -> int:
        """Tokens of a prompt without an intent."""
        return len(self.ids(self.training("")))

    def training(self, intent: str) -> str:
        """One turn of the user, and the opening of the assistant's."""
        return self.icl(intent, [])

    def test(self, intent: str) -> str:
        """The training prompt."""
        return self.training(intent)

    def icl(self, intent: str, examples: Sequence[Item]) -> str:
        """The examples as turns before the intent's."""
        return self._rendered(_turns(intent, examples), add_generation_prompt=True)

    def _rendered(self, turns: list[dict[str, str]], *, add_generation_prompt: bool) -> str:
        try:
            text = self.tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=add_generation_prompt, **OPTIONS
            )
        except Exception as error:  # a template is a program of the model's: it may raise anything
            raise UserError(
                f"its chat template fails: {type(error).__name__}: {error}",
                where=f"{self.where} ({_file_of(self.tokenizer)})",
                hint="Correct the template, or prompt the model with prompt_style: instruction.",
            ) from error
        return str(text)

    def ids(self, text: str) -> list[int]:
        """Without tokens of the tokenizer's own: the template has them all."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])


def _file_of(tokenizer: Any) -> str:
    """The file that holds a tokenizer's chat template."""
    folder = Path(tokenizer.name_or_path)
    own = folder / "chat_template.jinja"
    return str(own if own.is_file() else folder / "tokenizer_config.json")


def prompts_for(
    protocol: Protocol, name: str, entry: ModelEntry, tokenizer: Any, architecture: Architecture
) -> InstructionPrompts | ChatPrompts:
    """How a model is prompted in a study, by the paper's template or by chat.

    Raises:
        UserError: by chat, but its tokenizer has no chat template.
    """
    if protocol.style_of(entry.prompt_style) == "chat":
        return ChatPrompts(tokenizer, architecture, f"models.{name}")
    return InstructionPrompts(tokenizer, architecture, protocol)


def _turns(intent: str, examples: Sequence[Item]) -> list[dict[str, str]]:
    turns = []
    for item in examples:
        turns.append({"role": "user", "content": TASK_PREFIX + item.intent})
        turns.append({"role": "assistant", "content": item.code})
    return [*turns, {"role": "user", "content": TASK_PREFIX + intent}]
