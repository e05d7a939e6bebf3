"""Prompts, letter by letter as the study protocol gives them."""

from typing import Any

import pytest

from raypeft.data.prompts import InstructionPrompts, draw_examples
from raypeft.data.sources import Item
from raypeft.spec.protocol import Protocol

ITEMS = [Item(str(number), f"intent {number}", f"code {number}") for number in range(30)]
DECODER = "### Instruction:\nadd a and b\n### Response:\n"
ENCODER = "Generate Python code: ### Instruction:\nadd a and b\n### Response:\n"
SHOTS = (
    "### Instruction:\nsort xs\n### Response:\nxs.sort()\n"
    "\n"
    "### Instruction:\nstop\n### Response:\nexit()\n"
    "\n"
    "### Instruction:\nadd a and b\n### Response:\n"
)
EXAMPLES = [Item("1", "sort xs", "xs.sort()"), Item("2", "stop", "exit()")]


def prompts(architecture: str = "decoder", **protocol: Any) -> InstructionPrompts:
    return InstructionPrompts(None, architecture, Protocol(**protocol))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("architecture", "protocol", "training", "test"),
    [
        ("decoder", {}, DECODER, DECODER),
        ("decoder", {"test_prompt": "package"}, DECODER, "\n" + DECODER),
        ("decoder", {"task_prefix": "paper"}, DECODER, DECODER),
        ("encoder_decoder", {}, ENCODER, ENCODER),
        ("encoder_decoder", {"test_prompt": "package"}, ENCODER, DECODER + "<extra_id_0>"),
        ("encoder_decoder", {"task_prefix": "paper"}, DECODER, DECODER),
        ("encoder_decoder", {"task_prefix": "paper", "test_prompt": "package"}, DECODER, DECODER + "<extra_id_0>"),
    ],
)
def test_the_prompts_of_a_tuned_model(architecture: str, protocol: Any, training: str, test: str) -> None:
    asked = prompts(architecture, **protocol)
    assert asked.training("add a and b") == training
    assert asked.test("add a and b") == test
    answer = prompts(architecture, **protocol, response_header="answer")
    assert answer.training("add a and b") == training.replace("Response", "Answer")
    assert answer.test("add a and b") == test.replace("Response", "Answer")


HEADER = "Generate Python code given a natural language instruction.\n"


@pytest.mark.parametrize(
    ("architecture", "protocol", "before", "after"),
    [
        ("decoder", {}, HEADER, ""),
        ("decoder", {"icl_prompt": "paper"}, "", ""),
        ("decoder", {"test_prompt": "package"}, HEADER, ""),
        ("encoder_decoder", {}, HEADER, ""),
        ("encoder_decoder", {"test_prompt": "package"}, HEADER, "<extra_id_0>"),
    ],
)
def test_the_prompts_with_and_without_examples(architecture: str, protocol: Any, before: str, after: str) -> None:
    asked = prompts(architecture, **protocol)
    assert asked.icl("add a and b", EXAMPLES) == before + SHOTS + after
    assert asked.icl("add a and b", []) == before + DECODER + after


def test_text_of_the_data_is_no_template() -> None:
    assert prompts().training("{intent} %s {0}") == "### Instruction:\n{intent} %s {0}\n### Response:\n"


@pytest.mark.parametrize("seed", [42, 777, 5432, 55555, 97])
def test_examples_are_drawn_once_a_seed_without_replacement(seed: int) -> None:
    drawn = draw_examples(ITEMS, 3, seed)
    assert draw_examples(ITEMS, 3, seed) == drawn
    assert len({item.id for item in drawn}) == 3
    assert {item.id for item in draw_examples(ITEMS, 30, seed)} == {item.id for item in ITEMS}


def test_examples_differ_between_seeds_and_stay_the_same() -> None:
    drawn = {seed: [item.id for item in draw_examples(ITEMS, 3, seed)] for seed in (42, 777)}
    assert drawn == {42: ["20", "3", "0"], 777: ["7", "14", "11"]}
    assert draw_examples(ITEMS, 0, 42) == []


def test_no_more_examples_than_items() -> None:
    with pytest.raises(ValueError):
        draw_examples(ITEMS[:2], 3, 42)
