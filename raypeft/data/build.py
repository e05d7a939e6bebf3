"""CodeAlpacaPy from CodeAlpaca-20k, by the paper's rule."""

import ast
import hashlib
import os
import random
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raypeft.data.formats import read_rows
from raypeft.data.items import Item, check_text
from raypeft.data.rows import BadRow, shown
from raypeft.errors import UserError
from raypeft.output.files import write_lines
from raypeft.spec.catalogue import SPLITS, Split

SEED = 42
COLUMNS = ("instruction", "input", "output")
# Rows of CodeAlpaca-20k that the rule keeps, and the sizes of the published splits.
KEPT = 3136
PUBLISHED: dict[Split, int] = {"train": 2192, "validation": 314, "test": 628}
# Characters of an output: Python's parser needs 400 times the memory.
LONGEST = 100_000


@dataclass(frozen=True)
class Built:
    """What became of the rows.

    Attributes:
        rows: of the source.
        kept: those whose input is empty and whose output is Python.
        blank: items dropped because their code is blank.
        longest: the item dropped for having the longest code, where the rest is as many as were published.
        splits: the items of each split.
    """

    rows: int
    kept: int
    blank: list[Item]
    longest: Item | None
    splits: dict[Split, list[Item]]


def build_codealpacapy(
    source: Path, seed: int = SEED, watch: Callable[[Iterable[Item | None]], Iterable[Item | None]] = iter
) -> Built:
    """Take the Python part of CodeAlpaca-20k: rows without input whose output `ast.parse` accepts (paper, section 4.3).

    The published set has two rows less than the rule keeps. Here these are the one whose output is blank and the one
    with the longest output, most of which no target has room for. What is left is split at random; neither ids nor
    splits depend on the order of the source.

    Args:
        source: the file, in any format that is read, with instruction, input and output.
        seed: of the split.
        watch: passes rows on while it shows progress.

    Raises:
        UserError: the file cannot be read, lacks a column, or holds no such row.
    """
    try:
        found = list(watch(_items(source)))
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=str(source)) from error
    python = sorted((item for item in found if item is not None), key=lambda item: (item.intent, item.code))
    items = [item for item in python if item.code.strip()]
    if not items:
        raise UserError("holds no row without input whose output is Python", where=str(source))
    longest = max(items, key=lambda item: len(item.code)) if len(python) == KEPT else None
    rest = [item for item in items if item is not longest]
    random.Random(seed).shuffle(rest)
    return Built(
        rows=len(found),
        kept=len(python),
        blank=[item for item in python if not item.code.strip()],
        longest=longest,
        splits=_split(rest),
    )


def write_splits(folder: Path, splits: dict[Split, list[Item]]) -> None:
    """Write each split as JSON lines of id, nl and cmd.

    Raises:
        UserError: the folder has such a file already, or cannot be written.
    """
    if taken := [split for split in SPLITS if os.path.lexists(folder / f"{split}.jsonl")]:
        raise UserError(f"has a file {taken[0]}.jsonl already", where=str(folder), hint="Name another with --out.")
    try:
        for split, items in splits.items():
            rows = ({"id": item.id, "nl": item.intent, "cmd": item.code} for item in items)
            write_lines(folder / f"{split}.jsonl", rows)
    except OSError as error:
        hint = "Name another with --out."
        raise UserError(f"cannot be written: {error.strerror}", where=shown(str(folder)), hint=hint) from error


def _items(source: Path) -> Iterable[Item | None]:
    """For each row the item it makes, none where it is left out."""
    usable = False

    def use(place: str, row: Mapping[str, Any]) -> Item | None:
        nonlocal usable
        if absent := [column for column in COLUMNS if column not in row]:
            what, hint = f"has no column '{absent[0]}'", f"CodeAlpaca-20k has {', '.join(COLUMNS)}."
            raise BadRow(what) if usable else UserError(what, where=f"{source}, {place}", hint=hint)
        usable = True
        intent, given, code = (row[column] for column in COLUMNS)
        if isinstance(code, str) and len(code) > LONGEST:
            raise BadRow(f"has an output of more than {LONGEST:,} characters")
        if given or not isinstance(intent, str) or not isinstance(code, str) or not _is_python(code):
            return None
        check_text(COLUMNS[0], intent)
        digest = hashlib.sha256(f"{intent}\0{code}".encode()).hexdigest()
        return Item(digest[:12], intent, code)

    return read_rows(source, use, COLUMNS)


def _is_python(code: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _split(items: list[Item]) -> dict[Split, list[Item]]:
    """Parts in the proportions of the published ones."""
    total = sum(PUBLISHED.values())
    validation = round(len(items) * PUBLISHED["validation"] / total)
    test = round(len(items) * PUBLISHED["test"] / total)
    train = len(items) - validation - test
    return {
        "train": items[:train],
        "validation": items[train : train + validation],
        "test": items[train + validation :],
    }
