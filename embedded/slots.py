"""Slots of a snippet family: what fills `{list}`, `{word}` or `{cond}`, in English and in Python at once."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

T = TypeVar("T")
FOLDER = Path(__file__).parent
VARIABLES = ("list", "dict", "str", "num", "set", "df", "arr", "obj", "date", "func", "fh")
SEPARATORS = tuple(f"'{text}'" for text in (*",;:-_|/. #=", ", ", " - ", "&", "; "))
DATE_FORMATS = ("%Y-%m-%d", "%d/%m/%Y", "%H:%M", "%Y%m%d", "%d.%m.%Y", "%m/%d/%y", "%H:%M:%S", "%B %d, %Y", "%Y-%m")
OF_ITEMS = {
    "dcond": ("cond", "$v"),
    "kcond": ("scond", "$k"),
    "dchange": ("change", "$v"),
    "kchange": ("schange", "$k"),
}
"""Phrases about a dictionary's values, numbers, and keys, strings: those of another kind about another variable."""


class Filling(NamedTuple):
    """What a slot stands for in one snippet: its English, its Python, and the option it realises ('' for a value)."""

    english: str
    python: str
    option: str = ""


def pick(rng: random.Random, choices: Sequence[T]) -> T:
    """Draw one element with `rng.random()` alone, whose stream is the same in every Python release."""
    return choices[int(rng.random() * len(choices))]


def between(rng: random.Random, low: int, high: int) -> int:
    """Draw an integer of [low, high]."""
    return low + int(rng.random() * (high - low + 1))


def load_words() -> dict[str, tuple[str, ...]]:
    """The word pools of `words.txt` by kind."""
    lines = (FOLDER / "words.txt").read_text(encoding="utf-8").splitlines()
    return {kind: tuple(words.split()) for kind, words in (line.split(": ", 1) for line in lines)}


def load_phrases() -> dict[str, tuple[tuple[str, str, str], ...]]:
    """The phrases of `phrases.txt` by slot: option, English, Python, in which `{n}` and the like are slots again."""
    kinds = {}
    for block in (FOLDER / "phrases.txt").read_text(encoding="utf-8").strip().split("\n\n"):
        kind, *lines = block.split("\n")
        phrases = [(line + " ").split(" | ") for line in lines]
        kinds[kind] = tuple((option, english, python[:-1]) for option, english, python in phrases)
    for kind, (of, variable) in OF_ITEMS.items():
        kinds[kind] = tuple((option, english, python.replace("$x", variable)) for option, english, python in kinds[of])
    return kinds


WORDS = load_words()
PHRASES = load_phrases()


def name(rng: random.Random, kind: str) -> str:
    """A variable name of a kind of `VARIABLES`, one in three with a prefix (`raw_items`)."""
    base = pick(rng, WORDS[kind])
    return f"{pick(rng, WORDS['prefix'])}_{base}" if kind != "fh" and rng.random() < 0.35 else base


def file_name(rng: random.Random) -> str:
    """A file name, three in ten in a folder."""
    folder = f"{pick(rng, WORDS['folder'])}/" if rng.random() < 0.3 else ""
    return f"{folder}{pick(rng, WORDS['stem'])}.{pick(rng, WORDS['ending'])}"


LITERALS: dict[str, Callable[[random.Random], str]] = {
    "n": lambda rng: str(between(rng, 2, 20) if rng.random() < 0.7 else 5 * between(rng, 5, 200)),
    "low": lambda rng: str(between(rng, 1, 20)),
    "m": lambda rng: str(between(rng, 21, 99)),
    "d": lambda rng: str(between(rng, 0, 5)),
    "few": lambda rng: str(between(rng, 1, 9)),
    "base": lambda rng: str(between(rng, 2, 36)),
    "letter": lambda rng: pick(rng, "abcdefghijklmnopqrstuvwxyz"),
    "key": lambda rng: pick(rng, WORDS["attr"] + WORDS["word"]),
    "sep": lambda rng: pick(rng, SEPARATORS),
    "file": file_name,
    "fmt": lambda rng: pick(rng, DATE_FORMATS),
    "year": lambda rng: str(between(rng, 1950, 2040)),
    "month": lambda rng: str(between(rng, 1, 12)),
    "day": lambda rng: str(between(rng, 1, 28)),
}


def fill(rng: random.Random, label: str) -> Filling:
    """Draw what the slot `label` stands for; a trailing digit (`word2`) only tells slots of one kind apart."""
    kind = label.rstrip("0123456789")
    if kind in PHRASES:
        return composed(rng, kind)
    if kind in LITERALS:
        value = LITERALS[kind](rng)
    else:
        value = name(rng, kind) if kind in VARIABLES else pick(rng, WORDS[kind])
    return Filling(value, value)


def composed(rng: random.Random, kind: str) -> Filling:
    """Draw a phrase of `PHRASES` and fill the slots inside it."""
    option, english, python = pick(rng, PHRASES[kind])
    for label in ("n", "low", "m", "d", "letter", "word", "word2", "sep", "attr", "key", "list", "dict", "obj", "func"):
        slot = "{" + label + "}"
        if slot in english or slot in python:
            value = fill(rng, label).python
            english, python = english.replace(slot, value), python.replace(slot, value)
    return Filling(english, python, f"{kind}:{option}" if option else "")
