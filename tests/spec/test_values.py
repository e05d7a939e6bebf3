"""Kinds of values: what passes for a number, a name, a text, and what a specification may hold at most."""

from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ValidationError

from raypeft.spec.values import (
    Argument,
    Count,
    Flag,
    FolderName,
    Line,
    Name,
    Place,
    Prose,
    Real,
    Seed,
    Short,
    Value,
    Whole,
    is_folder_name,
    is_name,
    quoted,
    shortened,
)


class Kinds(BaseModel):
    whole: Whole = 1
    real: Real = 1.0
    flag: Flag = False
    count: Count = 1
    seed: Seed = 1
    line: Line = "a"
    place: Place = "a"
    prose: Prose = "a"
    name: Name = "a"
    folder: FolderName = "a"
    value: Value = 1
    argument: Argument = 1
    short: Annotated[list[Whole], Short] = []


def message(key: str, value: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        Kinds.model_validate({key: value})
    return str(caught.value.errors()[0]["msg"])


@pytest.mark.parametrize(
    ("key", "value", "taken"),
    [
        ("whole", 100.0, 100),
        ("real", 3, 3.0),
        ("seed", 2**32 - 1, 2**32 - 1),
        ("line", "日本 [é]", "日本 [é]"),
        ("prose", "two\nlines\t", "two\nlines\t"),
        ("line", "a\x1b[31m\x00\u202eb", "a\x1b[31m\x00\u202eb"),
        ("prose", "a\x1b[31m\x00\u202eb", "a\x1b[31m\x00\u202eb"),
        ("name", "a" * 80, "a" * 80),
        ("folder", "my study (2)", "my study (2)"),
        ("value", True, True),
        ("value", 1e-6, 1e-6),
        ("argument", {"a": [1, None, {"b": "c"}]}, {"a": [1, None, {"b": "c"}]}),
    ],
)
def test_what_is_taken(key: str, value: Any, taken: Any) -> None:
    found = getattr(Kinds.model_validate({key: value}), key)
    assert found == taken and type(found) is type(taken)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("whole", True, "should be a number, but is true"),
        ("whole", "3", "should be a number, but is the text '3': write it without quotes"),
        ("whole", 2.5, "Input should be a valid integer"),
        ("real", False, "should be a number, but is false"),
        ("real", "1e5", "should be a number, but is the text '1e5'"),
        ("flag", 1, "Input should be a valid boolean"),
        ("flag", "yes", "Input should be a valid boolean"),
        ("count", 10**400, "Input should be less than or equal to 1000000000"),
        ("seed", 2**32, "Input should be less than 4294967296"),
        ("line", " \t", "should not be blank"),
        ("place", "a\nb", "should be one line without control characters"),
        ("place", "a\x1b[31m", "should be one line without control characters"),
        ("place", "a\u202eb", "should be one line without control characters"),
        ("prose", "\n", "should not be blank"),
        ("name", "a" * 81, "String should have at most 80 characters"),
        ("name", "a/b", "String should match pattern"),
        ("folder", "..", "should do as the name of a folder"),
        ("folder", "é" * 61, "should have at most 120 bytes"),
        ("value", 1e300, "should be a number of usual size"),
        ("value", 1e-320, "should be a number of usual size"),
        ("value", float("inf"), "should be a number of usual size"),
        ("value", 10**12, "should be a number of usual size"),
        ("argument", [float("nan")], "should be a number of usual size"),
        ("argument", {"a": {1: 2}}, "should have texts as keys"),
        ("argument", b"a", "should be a number, text, true, false, null, a list or keys with values"),
        ("argument", [[[[[[[[[1]]]]]]]]], "should be at most 8 deep, with at most 1000 entries each"),
        ("short", list(range(-5000, 0)), "should have at most 1000 entries, but has 5000"),
    ],
)
def test_what_is_refused(key: str, value: Any, said: str) -> None:
    assert message(key, value).removeprefix("Value error, ").startswith(said)


@pytest.mark.parametrize("text", ["", ".", "..", ".a", "a/b", "a\nb", "a·b", "é", "a b", "a" * 81, "-a", "a\n"])
def test_a_name_is_one_part_of_a_path_and_of_an_id(text: str) -> None:
    assert not is_name(text)


@pytest.mark.parametrize("text", ["a", "lora", "Qwen2.5-Coder_3B", "0", "a" * 80])
def test_a_name_that_will_do(text: str) -> None:
    assert is_name(text) and is_folder_name(text)


def test_a_value_in_a_message_is_short_and_shows_what_is_not_seen() -> None:
    assert quoted("a\x1b[31m\n\u202e\udcff") == "'a\\x1b[31m\\n\\u202e\\udcff'"
    assert quoted(3) == "'3'"
    assert shortened("x" * 200) == "x" * 66 + "…" + "x" * 25
