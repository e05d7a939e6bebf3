"""Items, and how rows of files become items."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from raypeft.data.formats import read_rows
from raypeft.data.rows import BadRow, listed, shown
from raypeft.errors import UserError

_HALF_PAIR = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Item:
    """One intent and the code that answers it; `id` is the data set's own, or the number of its line or row."""

    id: str
    intent: str
    code: str


def read_items(path: Path, columns: Mapping[Any, str | list[str]], key: str) -> tuple[list[Item], list[str]]:
    """Items of a file in its order, and where rows stand whose intent or code is null.

    Args:
        path: of the file.
        columns: names of the columns of intent, code and id; of several the first that a row has.
        key: of the columns in a study, for messages.

    Raises:
        UserError: the file is not what it seems, lacks a column, or rows of it cannot be used.
        OSError: it is not there, or may not be read.
    """
    names = {part: [given] if isinstance(given, str) else given for part, given in columns.items()}
    items: list[Item] = []
    incomplete: list[str] = []

    def use(place: str, row: Mapping[str, Any]) -> Item | None:
        found = {part: next((name for name in options if name in row), None) for part, options in names.items()}
        absent = [names[part][0] for part, name in found.items() if name is None and _needed(part, names[part])]
        if absent and (items or incomplete):
            raise BadRow(f"has no column '{shown(absent[0])}'")
        if absent:  # in no row so far: it is rather the name that is wrong
            hint = f"Its columns are: {listed(row)}"
            raise UserError(f"{path}, {place} has no column '{shown(absent[0])}'", where=key, hint=hint)
        return _item({part: (name, row[name]) for part, name in found.items() if name is not None}, place)

    used = [name for options in names.values() for name in options]
    for place, item in read_rows(path, lambda place, row: (place, use(place, row)), used):
        if item is None:
            incomplete.append(place)
        else:
            items.append(item)
    return items, incomplete


def check_text(column: str, text: str) -> None:
    """Refuse what is no text: JSON can hold half of a surrogate pair, which nothing else takes.

    Raises:
        BadRow: the text of this column holds such a half.
    """
    if half := _HALF_PAIR.search(text):
        raise BadRow(f"has half of a surrogate pair in the column '{shown(column)}', {ascii(half[0])[1:-1]}")


def _needed(part: str, options: Sequence[str]) -> bool:
    return part != "id" or len(options) == 1


def _item(values: Mapping[str, tuple[str, Any]], place: str) -> Item | None:
    """The item of a row, from the column and value of each part; none where intent or code is null."""
    texts = {part: values[part] for part in ("intent", "code")}
    if any(value is None for _, value in texts.values()):
        return None
    if not all(isinstance(value, str) for _, value in texts.values()):
        raise BadRow("intent and code must be texts")
    number = place.split()[-1]
    name, given = values.get("id", ("id", None))
    identifier = number if _is_null(given) else _identifier(name, given)
    for column, text in (*texts.values(), (name, identifier)):
        check_text(column, text)
    return Item(identifier, texts["intent"][1], texts["code"][1])


def _is_null(value: Any) -> bool:
    """Whether it is no value in one of the formats: null, not a number, or nothing between the commas."""
    return value is None or (isinstance(value, float) and math.isnan(value)) or value == ""


def _identifier(column: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal | UUID):
        raise BadRow(f"the id in the column '{shown(column)}' must be a text or a number")
    return str(value)
