"""Rows as they are read, what is wrong with one, and how a user is told of all that are wrong in a file."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from raypeft.errors import UserError

# The most that are read of a file: a small compressed one can hold any number.
MOST_ROWS = 2_000_000
SHOWN = 8
MOST_NAMES = 20
_LONGEST = 160
_LONGEST_NAME = 60


class BadRow(Exception):
    """A row that cannot be used; its text says why, as what follows `line 3: `."""


# Where a row stands, and the row: a mapping, or something else that the file holds in its place.
Row = tuple[str, Any]


def too_many(path: Path) -> UserError:
    """A file has more rows than are read."""
    what = f"has more than {MOST_ROWS:,} rows, the most that are read of a data file"
    return UserError(what, where=str(path), hint="Take a part of it.")


def refusal(path: Path, wrong: Sequence[tuple[str, str]], *, complete: bool = True) -> UserError:
    """One message for all rows of a file that are wrong: the first of them, and how many more there are.

    Args:
        path: of the file.
        wrong: where each stands, and what is wrong with it.
        complete: whether these are all; otherwise the rest of the file was not looked at.
    """
    if len(wrong) == 1:
        place, what = wrong[0]
        return UserError(what, where=f"{path}, {place}")
    lines = [f"{place}: {shortened(what, _LONGEST)}" for place, what in wrong[:SHOWN]]
    rest = len(wrong) - SHOWN
    more = [f"and {rest:,} more"] if rest > 0 else []
    count = f"{len(wrong):,} rows" if complete else f"at least {len(wrong):,} rows"
    return UserError("\n".join([f"{count} cannot be used", *lines, *more]), where=str(path))


def twice(column: str) -> str:
    """What is wrong where a column stands twice."""
    return f"has the column '{shown(column)}' twice"


def listed(names: Iterable[Any]) -> str:
    """Names of columns inside a message, the first of them."""
    texts = [shown(str(name)) for name in names]
    more = f" and {len(texts) - MOST_NAMES} more" if len(texts) > MOST_NAMES else ""
    return ", ".join(texts[:MOST_NAMES]) + more


def shown(text: str) -> str:
    """A text of a file inside a message: short, and escaped where it holds what cannot be shown."""
    short = shortened(text, _LONGEST_NAME)
    return short if short.isprintable() else repr(short)[1:-1]


def shortened(text: str, most: int) -> str:
    """At most so many characters of a text."""
    return text if len(text) <= most else f"{text[:most]}…"
