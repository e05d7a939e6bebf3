"""Prompts, letter by letter as the study protocol gives them."""

import pytest

from raypeft.data.prompts import draw_examples, icl_prompt, package_test_prompt, tuned_prompt
from raypeft.data.sources import Item

ITEMS = [Item(str(number), f"intent {number}", f"code {number}") for number in range(30)]


def test_the_prompt_of_a_tuned_decoder() -> None:
    assert tuned_prompt("add a and b", "decoder") == "### Instruction:\nadd a and b\n### Response:\n"


def test_the_prompt_of_a_tuned_encoder_decoder_starts_with_the_task() -> None:
    assert (
        tuned_prompt("add a and b", "encoder_decoder")
        == "Generate Python code: ### Instruction:\nadd a and b\n### Response:\n"
    )


def test_the_packages_test_prompt_of_a_decoder_has_one_more_newline() -> None:
    assert package_test_prompt("add a and b", "decoder") == "\n### Instruction:\nadd a and b\n### Response:\n"


def test_the_packages_test_prompt_of_an_encoder_decoder_ends_with_a_sentinel() -> None:
    assert (
        package_test_prompt("add a and b", "encoder_decoder")
        == "### Instruction:\nadd a and b\n### Response:\n<extra_id_0>"
    )


def test_the_prompt_with_examples() -> None:
    assert icl_prompt("add", [Item("1", "sort xs", "xs.sort()"), Item("2", "stop", "exit()")]) == (
        "Generate Python code given a natural language instruction.\n"
        "### Instruction:\nsort xs\n### Response:\nxs.sort()\n"
        "\n"
        "### Instruction:\nstop\n### Response:\nexit()\n"
        "\n"
        "### Instruction:\nadd\n### Response:\n"
    )


def test_the_prompt_without_examples() -> None:
    assert icl_prompt("add", []) == (
        "Generate Python code given a natural language instruction.\n### Instruction:\nadd\n### Response:\n"
    )


def test_text_of_the_data_is_no_template() -> None:
    assert tuned_prompt("{intent} %s {0}", "decoder") == "### Instruction:\n{intent} %s {0}\n### Response:\n"


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
