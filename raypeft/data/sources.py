"""Items of a data set, read from its files."""

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
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
    """One intent and the code that answers it; `id` is the data set's own, or the number of its line in the file."""

    id: str
    intent: str
    code: str


def load_split(datasets: Mapping[str, DatasetEntry], name: str, split: Split, subsets: Subsets) -> list[Item]:
    """Read a split in file order, reduced to the study's seeded subset of it.

    Rows whose intent or code is null are dropped from training and validation (paper, section 4.3). A joint data set
    is what its parts give, subsets applied, one after the other and then shuffled with the subsets' seed.

    Args:
        datasets: at least the data set and those it joins.
        name: of the data set.
        split: which split.
        subsets: the study's.

    Raises:
        UserError: the folder, file or a column is missing, a line is not JSON, or a test row is null.
    """
    entry = datasets[name]
    if entry.join is not None:
        items = [item for part in entry.join for item in load_split(datasets, part, split, subsets)]
        random.Random(f"{subsets.seed}:{split}:{name}").shuffle(items)
        return items
    where = f"catalogue.datasets.{name}"
    folder = entry.path(f"{where}.folder")
    if folder is None:
        raise UserError(
            f"is on the hub ({entry.hub}), and only local folders of JSON lines are read",
            where=where,
            hint="Download its files, and name their folder with folder: instead of hub:",
        )
    path = folder / entry.files[split]
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path} cannot be read: {reason}", where=f"{where}.files.{split}") from error
    items = _items(text, entry, path, f"{where}.columns", keep_null=split == "test")
    if not items:
        raise UserError(f"{path} holds no row with both intent and code", where=f"{where}.files.{split}")
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


def _items(text: str, entry: DatasetEntry, path: Path, columns_key: str, *, keep_null: bool) -> list[Item]:
    items: list[Item] = []
    for number, line in enumerate(text.split("\n"), start=1):  # not splitlines: JSON texts may hold U+2028 as it is
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"is not JSON: {error}", where=place) from error
        if not isinstance(row, dict):
            raise UserError("is not a JSON object", where=place)
        if absent := [column for column in entry.columns.values() if column not in row]:
            raise UserError(
                f"{place} has no column '{absent[0]}'", where=columns_key, hint=f"Its columns are: {', '.join(row)}"
            )
        intent, code = row[entry.columns["intent"]], row[entry.columns["code"]]
        if intent is None or code is None:
            if keep_null:
                raise UserError("has no intent or no code, and a test item needs both", where=place)
            continue
        if not (isinstance(intent, str) and isinstance(code, str)):
            raise UserError("intent and code must be texts", where=place)
        identifier = row[entry.columns["id"]] if "id" in entry.columns else number
        items.append(Item(str(identifier), intent, code))
    return items
