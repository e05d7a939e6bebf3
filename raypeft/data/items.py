"""Items, and how rows of files become items."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from raypeft.data.formats import read_rows
from raypeft.data.rows import BadRow, Row, listed, shown
from raypeft.errors import UserError

_IDENTIFIERS = (str, int, float, Decimal, UUID)
_HALF_PAIR = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Item:
    """One intent and the code that answers it; `id` is the data set's own, or the number of its line or row."""

    id: str
    intent: str
    code: str


def read_items(
    path: Path, columns: Mapping[Any, str | list[str]], key: str, rows: Iterable[Row] | None = None
) -> tuple[list[Item], list[str]]:
    """Items of a file in its order, and where rows stand whose intent or code is null.

    Args:
        path: of the file.
        columns: names of the columns of intent, code and id; of several the first that a row has.
        key: of the columns in a study, for messages.
        rows: those of `path`, where it is no file that is read here.

    Raises:
        UserError: the file is not what it seems, lacks a column, or rows of it cannot be used.
        OSError: it is not there, or may not be read.
    """
    names = {part: [given] if isinstance(given, str) else given for part, given in columns.items()}
    items: list[Item] = []
    incomplete: list[str] = []

    def use(place: str, row: Mapping[str, Any]) -> tuple[str, Item | None]:
        values, absent = _values(row, names)
        if absent is None:
            return place, _item(values, place)
        if items or incomplete:
            raise BadRow(f"has no column '{shown(absent)}'")
        # In no row so far: it is rather the name that is wrong.
        hint = f"Its columns are: {listed(row)}"
        raise UserError(f"{path}, {place} has no column '{shown(absent)}'", where=key, hint=hint)

    for place, item in read_rows(path, use, [name for options in names.values() for name in options], rows):
        if item is None:
            incomplete.append(place)
        else:
            items.append(item)
    return items, incomplete


def _values(
    row: Mapping[str, Any], names: Mapping[str, Sequence[str]]
) -> tuple[dict[str, tuple[str, Any]], str | None]:
    """Column and value of each part, and a column that the row should have and has not."""
    values = {}
    for part, options in names.items():
        for name in options:
            if name in row:
                values[part] = (name, row[name])
                break
        else:
            if part != "id" or len(options) == 1:
                return values, options[0]
    return values, None


def check_text(column: str, text: str) -> None:
    """Refuse what is no text: JSON can hold half of a surrogate pair, which nothing else takes.

    Raises:
        BadRow: the text of this column holds such a half.
    """
    if not text.isascii() and (half := _HALF_PAIR.search(text)):
        raise BadRow(f"has half of a surrogate pair in the column '{shown(column)}', {ascii(half[0])[1:-1]}")


def _item(values: Mapping[str, tuple[str, Any]], place: str) -> Item | None:
    """The item of a row, none where intent or code is null."""
    (intent_column, intent), (code_column, code) = values["intent"], values["code"]
    if intent is None or code is None:
        return None
    if not (isinstance(intent, str) and isinstance(code, str)):
        raise BadRow("intent and code must be texts")
    id_column, given = values.get("id", ("", None))
    identifier = place.split()[-1] if _is_null(given) else _identifier(id_column, given)
    for column, text in ((intent_column, intent), (code_column, code), (id_column, identifier)):
        check_text(column, text)
    return Item(identifier, intent, code)


def _is_null(value: Any) -> bool:
    """Whether it is no value in one of the formats: null, not a number, or nothing between the commas."""
    return value is None or (isinstance(value, float) and math.isnan(value)) or value == ""


def _identifier(column: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, _IDENTIFIERS):
        raise BadRow(f"the id in the column '{shown(column)}' must be a text or a number")
    return str(value)
