"""Items of a data set, read from its files."""

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from raypeft.errors import UserError
from raypeft.spec.catalogue import DatasetEntry
from raypeft.spec.study import Subsets

T = TypeVar("T")
Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Item:
    """One intent and the code that answers it; `id` is the data set's own, or the row's number."""

    id: str
    intent: str
    code: str


def load_split(name: str, entry: DatasetEntry, split: Split, subsets: Subsets) -> list[Item]:
    """Read a split in file order, reduced to the study's seeded subset of it.

    Rows whose intent or code is null are dropped from training and validation (paper, section 4.3).

    Raises:
        UserError: the folder, file or a column is missing, a line is not JSON, or a test row is null.
    """
    where = f"datasets.{name}"
    folder = entry.path(f"{where}.folder")
    if folder is None:
        raise UserError(
            f"is on the hub ({entry.hub}), and only local folders of JSON lines are read",
            where=where,
            hint="Download its files and name them with folder: and files:",
        )
    path = folder / entry.files[split]
    items = _read(path, entry, f"{where}.files.{split}", keep_null=split == "test")
    if not items:
        raise UserError(f"{path} holds no usable row", where=f"{where}.files.{split}")
    return subset(items, getattr(subsets, split), f"{subsets.seed}:{split}")


def subset(items: Sequence[T], size: int | None, seed: str) -> list[T]:
    """A seeded subset in the original order; all items where `size` is none or not smaller."""
    if size is None or size >= len(items):
        return list(items)
    chosen = sorted(random.Random(seed).sample(range(len(items)), size))
    return [items[index] for index in chosen]


def content_hash(items: Sequence[Item]) -> str:
    """sha256 over intents and code in order, so that two runs can be shown to use the same data."""
    digest = hashlib.sha256()
    for item in items:
        digest.update(json.dumps([item.intent, item.code], ensure_ascii=False).encode())
        digest.update(b"\n")
    return digest.hexdigest()


def _read(path: Path, entry: DatasetEntry, where: str, *, keep_null: bool) -> list[Item]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}", where=where) from error
    items: list[Item] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"line {number} is not JSON: {error}", where=str(path)) from error
        if not isinstance(row, dict):
            raise UserError(f"line {number} is not a JSON object", where=str(path))
        if absent := [column for column in entry.columns.values() if column not in row]:
            raise UserError(
                f"{path} has no column '{absent[0]}' in line {number}",
                where=f"{where.split('.files')[0]}.columns",
                hint=f"Its columns are: {', '.join(row)}",
            )
        intent, code = row[entry.columns["intent"]], row[entry.columns["code"]]
        if intent is None or code is None:
            if keep_null:
                raise UserError(f"line {number} has no intent or no code, and a test item needs both", where=str(path))
            continue
        identifier = row[entry.columns["id"]] if "id" in entry.columns else len(items)
        items.append(Item(str(identifier), str(intent), str(code)))
    return items
