"""What is wrong with a data set: rows that are missing something, repeated, shared by splits, or too long."""

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from raypeft.data.sources import Item, SplitFile, content_hash, read_split
from raypeft.spec.catalogue import SPLITS, DatasetEntry, Split

# Which of prompt and target an item loses the end of, for its tokens.
Shortened = Callable[[Item], tuple[str, ...]]
Kind = Literal["pair", "intent", "origin"]


@dataclass(frozen=True)
class SplitFindings:
    """One split by itself.

    Attributes:
        source: where it was read.
        items: rows with intent and code.
        expected: how many there should be, where that is known.
        sha256: of the items' content.
        incomplete: where rows stand whose intent or code is null: dropped from training and validation, refused for
            test.
        empty: ids of items with blank intent or code.
        repeated: ids of items whose intent and code an earlier one has.
        repeated_ids: ids that more than one item of a file has.
        shortened: ids of items over the token limits, by what loses its end (`prompt`, `target`); none where nothing
            was counted.
    """

    split: Split
    source: list[str]
    items: int
    expected: int | None
    sha256: str
    incomplete: list[str]
    empty: list[str]
    repeated: list[str]
    repeated_ids: list[str]
    shortened: dict[str, list[str]] | None


@dataclass(frozen=True)
class Leak:
    """What two splits share.

    Attributes:
        kind: `pair` of intent and code, `intent`, or `origin` (the entry's pattern in the identifiers).
        shared: how many different ones both have.
        items: ids of the second split's items that the first has too.
    """

    kind: Kind
    first: Split
    second: Split
    shared: int
    items: list[str]


@dataclass(frozen=True)
class Findings:
    """All that was found in a data set; splits in the order train, validation, test."""

    name: str
    splits: list[SplitFindings]
    leaks: list[Leak]


def check(
    datasets: Mapping[str, DatasetEntry],
    name: str,
    splits: Sequence[Split] = SPLITS,
    shortened: Shortened | None = None,
) -> Findings:
    """Read a data set and look for what is wrong with it; a joint one as its parts put together.

    Args:
        datasets: at least the data set and those it joins.
        name: of the data set.
        splits: those that it has.
        shortened: tells of an item which parts are over the token limits; without it they are not counted.

    Raises:
        UserError: a file or a column is missing, or a file is not what it seems.
    """
    entry = datasets[name]
    read = {split: {part: read_split(part, datasets[part], split) for part in entry.join or [name]} for split in splits}
    found = {
        split: _of_split(split, files, entry.expected_items.get(split), shortened) for split, files in read.items()
    }
    keys = {
        split: [
            _Keys(item, (item.intent.strip(), item.code.strip()), _origin(datasets[part], item.id))
            for part, file in files.items()
            for item in file.items
        ]
        for split, files in read.items()
    }
    return Findings(
        name,
        list(found.values()),
        [leak for first, second in combinations(splits, 2) for leak in _leaks(first, second, keys)],
    )


@dataclass(frozen=True)
class _Keys:
    """What an item is compared by across splits."""

    item: Item
    pair: tuple[str, str]
    origin: str | None


def _of_split(
    split: Split, files: Mapping[str, SplitFile], expected: int | None, shortened: Shortened | None
) -> SplitFindings:
    items = [item for file in files.values() for item in file.items]
    seen: set[tuple[str, str]] = set()
    repeated = []
    for item in items:
        if (pair := (item.intent, item.code)) in seen:
            repeated.append(item.id)
        seen.add(pair)
    over: dict[str, list[str]] = {"prompt": [], "target": []}
    for item in items if shortened else ():
        for part in shortened(item) if shortened else ():
            over[part].append(item.id)
    return SplitFindings(
        split=split,
        source=[file.source for file in files.values()],
        items=len(items),
        expected=expected,
        sha256=content_hash(items),
        incomplete=[
            place if len(files) == 1 else f"{part}, {place}"
            for part, file in files.items()
            for place in file.incomplete
        ],
        empty=[item.id for item in items if not item.intent.strip() or not item.code.strip()],
        repeated=repeated,
        repeated_ids=[identifier for file in files.values() for identifier in file.repeated_ids],
        shortened=over if shortened else None,
    )


def _origin(entry: DatasetEntry, identifier: str) -> str | None:
    match = re.search(entry.origin, identifier) if entry.origin else None
    return match[0] if match else None


def _leaks(first: Split, second: Split, keys: Mapping[Split, Sequence[_Keys]]) -> list[Leak]:
    """Pairs, intents and origins that two splits share, where they share any."""
    kinds: dict[Kind, Callable[[_Keys], Hashable]] = {
        "pair": lambda row: row.pair,
        "intent": lambda row: row.pair[0],
        "origin": lambda row: row.origin,
    }
    leaks = []
    for kind, key in kinds.items():
        known = {key(row) for row in keys[first]} - {None}
        both = [row for row in keys[second] if key(row) in known]
        if both:
            leaks.append(Leak(kind, first, second, len({key(row) for row in both}), [row.item.id for row in both]))
    return leaks
