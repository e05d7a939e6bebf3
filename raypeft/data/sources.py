"""Items of a data set, read from a local folder or from the hub."""

import hashlib
import json
import os
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from raypeft.data.configurations import configured_rows
from raypeft.data.formats import SUFFIXES
from raypeft.data.items import Item, read_items
from raypeft.data.rows import SHOWN, listed, shown
from raypeft.errors import UserError
from raypeft.spec.catalogue import DATA_VARIABLE, SPLITS, DatasetEntry, Split, local_folder
from raypeft.spec.sections import Subsets

__all__ = [
    "SPLITS",
    "Item",
    "Split",
    "SplitFile",
    "content_hash",
    "find_file",
    "load_split",
    "read_split",
    "subset",
]

T = TypeVar("T")

USUAL_NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train",),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test",),
}


@dataclass(frozen=True)
class SplitFile:
    """The whole of a split.

    Attributes:
        source: where it was read: a path, or repository, revision and path of the hub.
        items: those with intent and code, in file order.
        incomplete: where rows stand whose intent or code is null.
    """

    source: str
    items: list[Item]
    incomplete: list[str]

    @property
    def repeated_ids(self) -> list[str]:
        """Ids that more than one item has, in the order of the file."""
        return [identifier for identifier, count in Counter(item.id for item in self.items).items() if count > 1]


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
        UserError: the folder, file or a column is missing, a file is not what it seems, or a test row is null.
    """
    entry = datasets[name]
    if entry.join is not None:
        items = [item for part in entry.join for item in load_split(datasets, part, split, subsets)]
        random.Random(f"{subsets.seed}:{split}:{name}").shuffle(items)
        return items
    found = read_split(name, entry, split)
    if split == "test" and found.incomplete:
        rest = len(found.incomplete) - SHOWN
        places = ", ".join(found.incomplete[:SHOWN]) + (f" and {rest:,} more" if rest > 0 else "")
        raise UserError("has no intent or no code, and a test item needs both", where=f"{found.source}, {places}")
    if not found.items:
        raise UserError(
            f"{found.source} holds no row with both intent and code", where=f"catalogue.datasets.{name}.files.{split}"
        )
    return subset(found.items, getattr(subsets, split), f"{subsets.seed}:{split}")


def read_split(name: str, entry: DatasetEntry, split: Split) -> SplitFile:
    """Read all of a split of a data set that joins no others.

    Raises:
        UserError: the folder, file or a column is missing, or a file is not what it seems.
    """
    where = f"catalogue.datasets.{name}"
    folder = local_folder(name, entry)
    rows, part = None, entry.file(split)
    if entry.configuration is not None:
        part = f"{entry.configuration}/{entry.splits.get(split, split)}"
        place = _from_hub(name, entry, None) if folder is None else folder
        rows = configured_rows(place, entry.configuration, entry.splits.get(split, split), where)
        path = place / part
    else:
        path = _from_hub(name, entry, part) if folder is None else _file(folder, entry, split, where)
    source = f"{entry.hub}@{entry.revision or 'main'}:{part}" if folder is None else str(path)
    try:
        items, incomplete = read_items(path, entry.columns, f"{where}.columns", rows)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", where=f"{where}.files.{split}") from error
    return SplitFile(source, items, incomplete)


def subset(items: Sequence[T], size: int | None, seed: str) -> list[T]:
    """A seeded subset in the original order; all items where `size` is none or not smaller."""
    if size is None or size >= len(items):
        return list(items)
    chosen = sorted(random.Random(seed).sample(range(len(items)), size))
    return [items[index] for index in chosen]


def content_hash(items: Sequence[Item]) -> str:
    """sha256 of the items in one form, whatever they were read from: JSON lines of `id`, `nl` and `cmd` in UTF-8."""
    digest = hashlib.sha256()
    for item in items:
        row = {"id": item.id, "nl": item.intent, "cmd": item.code}
        digest.update(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()


def _from_hub(name: str, entry: DatasetEntry, file: str | None) -> Path:
    """A file of a data set, or without one the folder with all of it."""
    from raypeft.hub import HubError, dataset_snapshot, hub_file

    try:
        if file is None:
            return dataset_snapshot(str(entry.hub), revision=entry.revision)
        return hub_file(str(entry.hub), file, revision=entry.revision, kind="dataset")
    except HubError as error:
        instead = f"Or export {DATA_VARIABLE}=FOLDER, with its files in FOLDER/{name}."
        hint = f"{error.hint}\n{instead}" if error.hint else instead
        raise HubError(error.what, cause=error.cause, where=error.where, hint=hint) from error


def find_file(folder: Path, entry: DatasetEntry, split: Split) -> Path | None:
    """The file the entry names; where it names none, or is of the hub, the first of the usual names that is there.

    What is there need not be a file that can be read: whoever reads it says so.
    """
    named = [entry.files[split]] if split in entry.files else []
    usual = [f"{stem}{suffix}{packed}" for stem in USUAL_NAMES[split] for suffix in SUFFIXES for packed in ("", ".gz")]
    names = named if named and entry.hub is None else [*named, *usual]
    return next((folder / name for name in names if os.path.lexists(folder / name)), None)


def _file(folder: Path, entry: DatasetEntry, split: Split, where: str) -> Path:
    found = find_file(folder, entry, split)
    if found is None:
        wanted = [entry.files[split]] if split in entry.files else [f"{stem}.*" for stem in USUAL_NAMES[split]]
        try:
            there = sorted(os.listdir(folder))
        except OSError as error:
            raise UserError(f"{folder} cannot be read: {error.strerror}", where=f"{where}.folder") from error
        raise UserError(
            f"{folder} has no file {' or '.join(map(shown, wanted))}",
            where=f"{where}.files.{split}",
            hint=f"It has: {listed(there) or 'nothing'}",
        )
    return found
