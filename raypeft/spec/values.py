"""Kinds of values that specifications are made of: numbers that are numbers, texts that can be shown, bounded names.

What a file says is taken as it stands: no truth value and no text passes for a number, no number for a truth value.
Bounds are far beyond what anyone trains, and near enough for every sum made of them to be a number.
"""

import math
import re
import unicodedata
from collections.abc import Hashable
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, Strict

LONGEST_NAME = 80
"""Characters of a name of a model, data set or technique: three of them and a number make the name of a folder."""
LONGEST_FOLDER = 120  # bytes
LONGEST_TEXT, LONGEST_LIST, DEEPEST = 10_000, 1_000, 8
LARGEST_WHOLE, LARGEST, SMALLEST = 2**31 - 1, 1e18, 1e-30

Each = TypeVar("Each", bound=Hashable)
_DIRECTIONS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def one_line(text: str) -> bool:
    """Whether a text has no line break, no control character, no half of a surrogate and turns no direction."""
    return all(
        unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp")
        and unicodedata.bidirectional(character) not in _DIRECTIONS
        for character in text
    )


def shortened(text: str, longest: int = 100) -> str:
    """A text for a message: in one line, what is not shown escaped, its middle left out where it is long."""
    if len(text) > longest:
        text = f"{text[: longest * 2 // 3]}…{text[-(longest // 4) :]}"
    return "".join(one if one_line(one) else ascii(one)[1:-1] for one in text)


def quoted(value: object) -> str:
    """A value for a message, as `shortened`, in quotes."""
    return f"'{shortened(str(value))}'"


def distinct(values: list[Each]) -> list[Each]:
    """The values of a list, none of which stands twice; 1, 1.0 and true are three.

    Raises:
        ValueError: one does.
    """
    seen: set[tuple[type, Each]] = set()
    for value in values:
        if (type(value), value) in seen:
            raise ValueError(f"{quoted(value)} stands twice")
        seen.add((type(value), value))
    return values


def is_name(text: str) -> bool:
    """Whether a text will do as a name of a model, data set or technique."""
    return len(text) <= LONGEST_NAME and re.fullmatch(NAME.strip("^$"), text) is not None


def _folder(text: str) -> str:
    if not one_line(text) or "/" in text or text.startswith(".") or text != text.strip() or not text:
        raise ValueError("should do as the name of a folder")
    if len(text.encode()) > LONGEST_FOLDER:
        raise ValueError(f"should have at most {LONGEST_FOLDER} bytes, to do as the name of a folder")
    return text


def is_folder_name(text: str) -> bool:
    """Whether a text will do as the name of a study."""
    try:
        return bool(_folder(text))
    except ValueError:
        return False


def _numeric(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"should be a number, but is {str(value).lower()}")
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return value  # pydantic says what it is not
        raise ValueError(f"should be a number, but is the text {quoted(value)}: write it without quotes")
    return value


def _place(text: str) -> str:
    if not one_line(_said(text)):
        raise ValueError("should be one line without control characters")
    return text


def _said(text: str) -> str:
    if not text.strip():
        raise ValueError("should not be blank")
    return text


def _argument(value: Any) -> Any:
    wrong = _wrong_argument(value, 0)
    if wrong:
        raise ValueError(wrong)
    return value


def _wrong_argument(value: Any, depth: int) -> str | None:
    """Why a value is none that a configuration of peft can be given and JSON can hold; none where it is one."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return None if in_range(value) else "should be a number of usual size"
    if isinstance(value, str):
        return None if len(value) <= LONGEST_TEXT else f"should have at most {LONGEST_TEXT} characters"
    if not isinstance(value, list | dict):
        return "should be a number, text, true, false, null, a list or keys with values"
    if depth == DEEPEST or len(value) > LONGEST_LIST:
        return f"should be at most {DEEPEST} deep, with at most {LONGEST_LIST} entries each"
    if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
        return "should have texts as keys"
    children = value.values() if isinstance(value, dict) else value
    return next(filter(None, (_wrong_argument(child, depth + 1) for child in children)), None)


def in_range(value: float) -> bool:
    """Whether a number is zero, or neither so large nor so small that products of it are no numbers."""
    if isinstance(value, int):
        return abs(value) <= LARGEST_WHOLE
    return math.isfinite(value) and (value == 0 or SMALLEST <= abs(value) <= LARGEST)


def _usual(value: Any) -> Any:
    if isinstance(value, int | float) and not in_range(value):
        raise ValueError("should be a number of usual size")
    return value


def _short(value: Any) -> Any:
    if isinstance(value, list | dict) and len(value) > LONGEST_LIST:
        raise ValueError(f"should have at most {LONGEST_LIST} entries, but has {len(value)}")
    return value


Whole = Annotated[int, BeforeValidator(_numeric)]
Real = Annotated[float, BeforeValidator(_numeric)]
Flag = Annotated[bool, Strict()]
Usual = AfterValidator(_usual)
Count = Annotated[Whole, Field(gt=0, le=10**9)]
Seed = Annotated[Whole, Field(ge=0, lt=2**32)]
Line = Annotated[str, Field(max_length=500), AfterValidator(_said)]
"""Text for people, short enough for tables; whatever it holds is shown and not obeyed (`report.formatting`)."""
Place = Annotated[str, Field(max_length=4_000), AfterValidator(_place)]
"""A path."""
Prose = Annotated[str, Field(max_length=LONGEST_TEXT), AfterValidator(_said)]
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
Name = Annotated[str, Field(pattern=NAME, max_length=LONGEST_NAME)]
"""Of a model, data set or technique: a part of paths, and of names of cells and trials."""
FolderName = Annotated[str, AfterValidator(_folder)]
"""Of a study: its runs lie in folders of this name."""
Argument = Annotated[Any, AfterValidator(_argument)]
"""Of a configuration of peft."""
Value = Annotated[bool | int | float | Annotated[str, Field(max_length=LONGEST_TEXT)], Usual]
"""Of a hyperparameter."""
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)]
"""Of a class, argument or hyperparameter."""
Short = BeforeValidator(_short)
"""For lists and mappings: refused as a whole before each of many entries is."""
