"""Slots of a snippet family: what fills `{list}`, `{word}` or `{cond}`, in English and in Python at once."""

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Filling(NamedTuple):
    """What a slot stands for in one snippet: its English, its Python, and the option it realises ('' for plain values)."""

    english: str
    python: str
    option: str = ""


def pick(rng: random.Random, choices: Sequence[T]) -> T:
    """Draw one element with `rng.random()` alone, whose stream is the same in every Python release."""
    return choices[int(rng.random() * len(choices))]


def between(rng: random.Random, low: int, high: int) -> int:
    """Draw an integer of [low, high]."""
    return low + int(rng.random() * (high - low + 1))


PREFIXES = ("new", "old", "all", "my", "raw", "top", "user", "file", "test", "clean", "last", "total", "sub", "main")
NAMES = {
    "list": "items values numbers words rows names scores lines tokens records users prices points results tags "
    "entries ids labels pairs paths colors cities grades nodes tasks orders emails events keys parts",
    "dict": "config counts data settings options lookup table mapping params stock ages info index cache profile "
    "totals weights headers meta inventory",
    "str": "text line title message name word phrase label url path sentence body content token code query address "
    "html comment reply",
    "num": "total count size price width height ratio value score age amount speed step limit offset number",
    "set": "seen unique allowed members visited groups roles active blocked known",
    "df": "df frame sales people orders_df trips logs table_df stats survey",
    "arr": "arr matrix grid vec image weights signal samples mat array",
    "obj": "user order item node request task event page player book",
    "date": "start end today birthday deadline created updated now when expires",
    "func": "check process parse load convert score clean is_valid normalize handle compute visit",
    "fh": "f file handle log fh out source stream",
}
POOLS = {kind: tuple(names.split()) for kind, names in NAMES.items()}
ATTRIBUTES = tuple("name age price size date id title score level status count email city rank year".split())
COLUMNS = tuple("name age price city date score country total year status amount category team month rating".split())
WORDS = tuple(
    "apple red error north user admin blue http test cat stone west warning done start green key zip root river "
    "main tmp beta alpha total yes no end data lemon moon paper ready open closed gold tree info debug line box "
    "left right south east low high sun star book fish leaf wolf city road sugar salt milk bread rain snow".split()
)
STEMS = tuple("data log users report config notes output input index results names image prices archive".split())
ENDINGS = tuple("txt csv json log md xml dat cfg html py".split())
FOLDERS = tuple("tmp data logs src docs images backup reports output static tests home/user var/cache".split())
SEPARATORS = ("','", "';'", "':'", "'-'", "'_'", "'|'", "'/'", "'.'", "' '", "'#'", "'='", "', '", "' - '", "'&'", "'; '")
DATE_FORMATS = ("%Y-%m-%d", "%d/%m/%Y", "%H:%M", "%Y%m%d", "%d.%m.%Y", "%m/%d/%y", "%H:%M:%S", "%B %d, %Y", "%Y-%m")
PATTERNS = (
    ("digits", r"\d+"), ("non-digits", r"\D+"), ("words", r"\w+"), ("whitespace", r"\s+"),
    ("lower case letters", "[a-z]+"), ("capital letters", "[A-Z]"), ("vowels", "[aeiou]"), ("punctuation", r"[^\w\s]"),
)  # fmt: skip
PROGRAMS = tuple("ls cat grep git python make tar curl echo sort rm cp find touch du".split())

# (option, English, Python) of a number $x; {n} and {m} are small integers
NUMBER_CONDITIONS = (
    ("gt", "greater than {n}", "$x > {n}"), ("lt", "less than {n}", "$x < {n}"), ("ge", "of at least {n}", "$x >= {n}"),
    ("le", "of at most {n}", "$x <= {n}"), ("ne", "different from {n}", "$x != {n}"), ("eq", "equal to {n}", "$x == {n}"),
    ("mod", "divisible by {n}", "$x % {n} == 0"), ("even", "that are even", "$x % 2 == 0"), ("odd", "that are odd", "$x % 2 == 1"),
    ("range", "between {low} and {m}", "{low} <= $x <= {m}"), ("neg", "that are negative", "$x < 0"), ("pos", "that are positive", "$x > 0"),
    ("none", "that are not None", "$x is not None"), ("in", "that are in `{list}`", "$x in {list}"),
    ("notin", "that are not in `{list}`", "$x not in {list}"), ("call", "for which `{func}` is true", "{func}($x)"),
)  # fmt: skip
# the same of a string $x
STRING_CONDITIONS = (
    ("starts", "starting with '{word}'", "$x.startswith('{word}')"), ("ends", "ending with '{word}'", "$x.endswith('{word}')"),
    ("has", "containing '{word}'", "'{word}' in $x"), ("hasnot", "not containing '{word}'", "'{word}' not in $x"),
    ("long", "longer than {n} characters", "len($x) > {n}"), ("short", "shorter than {n} characters", "len($x) < {n}"),
    ("len", "of length {n}", "len($x) == {n}"), ("digit", "that consist of digits", "$x.isdigit()"),
    ("alpha", "that consist of letters", "$x.isalpha()"), ("upper", "in upper case", "$x.isupper()"),
    ("lower", "in lower case", "$x.islower()"), ("empty", "that are not empty", "$x"),
    ("first", "whose first letter is '{letter}'", "$x[0] == '{letter}'"), ("ne", "other than '{word}'", "$x != '{word}'"),
)  # fmt: skip
NUMBER_CHANGES = (
    ("square", "squared", "$x ** 2"), ("double", "doubled", "$x * 2"), ("plus", "increased by {n}", "$x + {n}"),
    ("minus", "decreased by {n}", "$x - {n}"), ("times", "multiplied by {n}", "$x * {n}"), ("over", "divided by {n}", "$x / {n}"),
    ("str", "converted to a string", "str($x)"), ("abs", "made absolute", "abs($x)"), ("round", "rounded to {d} decimals", "round($x, {d})"),
    ("negate", "negated", "-$x"), ("mod", "taken modulo {n}", "$x % {n}"), ("floor", "floor divided by {n}", "$x // {n}"),
    ("call", "passed to `{func}`", "{func}($x)"), ("float", "converted to float", "float($x)"),
)  # fmt: skip
STRING_CHANGES = (
    ("upper", "in upper case", "$x.upper()"), ("lower", "in lower case", "$x.lower()"), ("strip", "stripped of whitespace", "$x.strip()"),
    ("reverse", "reversed", "$x[::-1]"), ("int", "converted to int", "int($x)"), ("head", "cut to the first {n} characters", "$x[:{n}]"),
    ("tail", "cut to the last {n} characters", "$x[-{n}:]"), ("title", "in title case", "$x.title()"),
    ("prefix", "prefixed with '{word}'", "'{word}' + $x"), ("suffix", "followed by '{word}'", "$x + '{word}'"),
    ("replace", "with '{word}' replaced by '{word2}'", "$x.replace('{word}', '{word2}')"), ("split", "split on {sep}", "$x.split({sep})"),
    ("rstrip", "without trailing '{letter}'", "$x.rstrip('{letter}')"), ("zfill", "padded with zeros to width {n}", "$x.zfill({n})"),
)  # fmt: skip
SORT_KEYS = (
    ("len", "by length", "len"), ("item", "by the element at index {d}", "lambda $x: $x[{d}]"), ("last", "by the last element", "lambda $x: $x[-1]"),
    ("key", "by key '{attr}'", "lambda $x: $x['{attr}']"), ("attr", "by attribute `{attr}`", "lambda $x: $x.{attr}"),
    ("abs", "by absolute value", "abs"), ("lower", "ignoring case", "str.lower"), ("int", "by integer value", "int"),
    ("call", "by the value of `{func}`", "{func}"), ("sum", "by sum", "sum"), ("neg", "by negated value", "lambda $x: -$x"),
)  # fmt: skip
ARRAY_CONDITIONS = (
    ("gt", "greater than {n}", "{arr} > {n}"), ("lt", "less than {n}", "{arr} < {n}"), ("eq", "equal to {n}", "{arr} == {n}"),
    ("ge", "of at least {n}", "{arr} >= {n}"), ("ne", "different from {n}", "{arr} != {n}"), ("nan", "that are nan", "np.isnan({arr})"),
    ("neg", "that are negative", "{arr} < 0"), ("mod", "divisible by {n}", "{arr} % {n} == 0"),
)  # fmt: skip
COLUMN_CONDITIONS = (
    ("gt", "greater than {n}", "> {n}"), ("lt", "less than {n}", "< {n}"), ("eq", "equal to {n}", "== {n}"),
    ("ge", "at least {n}", ">= {n}"), ("le", "at most {n}", "<= {n}"), ("ne", "different from {n}", "!= {n}"),
    ("word", "equal to '{word}'", "== '{word}'"), ("notword", "other than '{word}'", "!= '{word}'"),
)  # fmt: skip
SEQUENCES = (
    ("", "list `{list}`", "{list}"), ("", "list `{list}`", "{list}"), ("", "`{list}`", "{list}"), ("", "`{list}`", "{list}"),
    ("values", "the values of dictionary `{dict}`", "{dict}.values()"), ("keys", "the keys of dictionary `{dict}`", "{dict}.keys()"),
    ("attr", "`{list}` of object `{obj}`", "{obj}.{list}"), ("item", "the list at key '{key}' of `{dict}`", "{dict}['{key}']"),
)  # fmt: skip
COMPOSED = {
    "cond": NUMBER_CONDITIONS, "scond": STRING_CONDITIONS, "change": NUMBER_CHANGES, "schange": STRING_CHANGES,
    "ncond": ARRAY_CONDITIONS, "pcond": COLUMN_CONDITIONS, "by": SORT_KEYS, "seq": SEQUENCES,
    "dcond": tuple((o, e, p.replace("$x", "$v")) for o, e, p in NUMBER_CONDITIONS),
    "kcond": tuple((o, e, p.replace("$x", "$k")) for o, e, p in STRING_CONDITIONS),
    "dchange": tuple((o, e, p.replace("$x", "$v")) for o, e, p in NUMBER_CHANGES),
    "kchange": tuple((o, e, p.replace("$x", "$k")) for o, e, p in STRING_CHANGES),
    "order": (("", "in ascending order", ""), ("reverse", "in descending order", ", reverse=True")),
    "ascending": (("", "in ascending order", ""), ("reverse", "in descending order", ", ascending=False")),
    "pattern": tuple((english, english, python) for english, python in PATTERNS),
    "stat": tuple((stat, stat, stat) for stat in ("mean", "sum", "max", "min", "std")),
    "axis": (("0", "column", "0"), ("1", "row", "1")),
    "stacking": (("v", "vertically", "vstack"), ("h", "horizontally", "hstack"), ("d", "in depth", "dstack")),
    "letters": (("upper", "upper", "upper"), ("lower", "lower", "lower"), ("title", "title", "title")),
    "ctype": (("int", "int", "int"), ("list", "list", "list"), ("str", "str", "str"), ("dict", "dict", "dict")),
}  # fmt: skip


def name(rng: random.Random, kind: str) -> str:
    """A variable name of a kind of `POOLS`, one in three with a prefix (`raw_items`)."""
    base = pick(rng, POOLS[kind])
    return f"{pick(rng, PREFIXES)}_{base}" if kind != "fh" and rng.random() < 0.35 else base


PLAIN: dict[str, Callable[[random.Random], str]] = {
    "n": lambda rng: str(between(rng, 2, 20) if rng.random() < 0.7 else 5 * between(rng, 5, 200)),
    "low": lambda rng: str(between(rng, 1, 20)),
    "m": lambda rng: str(between(rng, 21, 99)),
    "d": lambda rng: str(between(rng, 0, 5)),
    "few": lambda rng: str(between(rng, 1, 9)),
    "base": lambda rng: str(between(rng, 2, 36)),
    "letter": lambda rng: pick(rng, "abcdefghijklmnopqrstuvwxyz"),
    "word": lambda rng: pick(rng, WORDS),
    "attr": lambda rng: pick(rng, ATTRIBUTES),
    "key": lambda rng: pick(rng, ATTRIBUTES + WORDS),
    "col": lambda rng: pick(rng, COLUMNS),
    "sep": lambda rng: pick(rng, SEPARATORS),
    "ending": lambda rng: pick(rng, ENDINGS),
    "file": lambda rng: (f"{pick(rng, FOLDERS)}/" if rng.random() < 0.3 else "") + f"{pick(rng, STEMS)}.{pick(rng, ENDINGS)}",
    "folder": lambda rng: pick(rng, FOLDERS),
    "fmt": lambda rng: pick(rng, DATE_FORMATS),
    "prog": lambda rng: pick(rng, PROGRAMS),
    "year": lambda rng: str(between(rng, 1950, 2040)),
    "month": lambda rng: str(between(rng, 1, 12)),
    "day": lambda rng: str(between(rng, 1, 28)),
    "unit": lambda rng: pick(rng, ("days", "hours", "minutes", "weeks", "seconds")),
}


def fill(rng: random.Random, label: str) -> Filling:
    """Draw what the slot `label` stands for; a trailing digit (`word2`) only tells slots of one kind apart."""
    kind = label.rstrip("0123456789")
    if kind in PLAIN:
        value = PLAIN[kind](rng)
        return Filling(value, value)
    if kind in POOLS:
        value = name(rng, kind)
        return Filling(value, value)
    return composed(rng, kind)


def composed(rng: random.Random, kind: str) -> Filling:
    """Draw a phrase of `COMPOSED` and fill the slots inside it."""
    option, english, python = pick(rng, COMPOSED[kind])
    for label in ("n", "low", "m", "d", "letter", "word", "word2", "sep", "attr", "key", "list", "dict", "obj", "func"):
        slot = "{" + label + "}"
        if slot in english or slot in python:
            value = fill(rng, label).python
            english, python = english.replace(slot, value), python.replace(slot, value)
    return Filling(english, python, f"{kind}:{option}" if option else "")
