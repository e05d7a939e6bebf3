"""Trees of YAML: written as text that may hold anything, and mutated."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any


@dataclass(frozen=True)
class Raw:
    """A piece of YAML text that stands as it is."""

    text: str


NUMBERS = [
    *("0", "-1", "1", "2", "3.5", "-0.0", "4294967295", "4294967296", "2147483648", "9223372036854775808"),
    *("1e300", "-1e308", "1e-320", "1e999", ".inf", "-.inf", ".nan", "1" + "0" * 30, "1" + "0" * 320, "9" * 5000),
    *("010", "0o10", "0x10", "0b11", "1_000", "1:30", "1:30:00", "1.5:30", "0x", "+3", "1.", ".5", "1e5", "1E+5"),
]
TEXTS = [
    *(
        '""',
        '" "',
        '"\\n"',
        '"\\0"',
        '"\\e[31mred"',
        '"\\u202Eevil"',
        '"\\uD800"',
        '"\\x7f"',
        "~",
        "null",
        "true",
        "yes",
    ),
    *("no", '"true"', '"3"', "'1e5'", "..", ".", "/", "a/b", "a/b/c", "../x", "/etc/passwd", "/dev/null", "/dev/zero"),
    *("...yaml", ".yaml", "a·b.yaml", "a·b", '"a\\nb.yaml"', "~nouser/x", "~nouser", "~root/x", "${UNSET_VARIABLE}"),
    *("'${HOME}'", "'${'", "'${}'", "x" * 300, "é" * 200, "x" * 5000, "/" + "x/" * 3000, "con", "'[bold]'", "'%s{0}'"),
    *("embedded:", "embedded:../..", "embedded:nothing", "lora", "tiny-decoder", "snippets", "search_spaces/own.yaml"),
    *("all-linear", "attention", "LoraConfig", "PeftModel", "os.system", "'(('", "'(a+)+$'", "'[z-a]'", '"é"', "own"),
]
OTHERS = [
    *("[]", "{}", "[[]]", "[{}]", "{a: 1}", "{1: 2}", "{null: 1}", "{true: 1}", "{1.5: 2}", "{[a]: 1}", "{{a: 1}: 2}"),
    *(
        "{? [a, b] : c}",
        "[1, a, null]",
        "[null]",
        "[[1, 2], [3]]",
        "[1, 1]",
        "[a, a]",
        "[true, 1]",
        "[1, 1.0]",
        "2001-01-01",
    ),
    *(
        "2001-01-01T00:00:00Z",
        "9999-99-99",
        "!!binary aGk=",
        "!!binary é",
        "!!set {a, b}",
        "!!omap [a: 1]",
        "!!pairs [a: 1]",
    ),
    *(
        "!!int x",
        "!!int ''",
        "!!float abc",
        "!!bool zz",
        "!!null x",
        "!!timestamp x",
        "!!str 5",
        "!!seq {}",
        "!!map []",
    ),
    *(
        "!foo bar",
        "!!python/object:os.system {}",
        "!!python/name:os.system",
        "!!python/tuple [1]",
        "!!merge x",
        "!!value x",
    ),
    *(
        "{<<: 3}",
        "{<<: {a: 1}}",
        "{<<: [1]}",
        "{=: 1}",
        "=",
        "<<",
        "&a [*a]",
        "&a {b: *a}",
        "*missing",
        "&a x",
        "{a, b}",
    ),
    *("[" * 1500 + "]" * 1500, "{a: " * 1500 + "}" * 1500, "[" + "-1, " * 3000 + "-1]", "[" + "0, " * 3000 + "1]"),
    *("[" + ", ".join(map(str, range(2000))) + "]", "{" + ", ".join(f"k{n}: {n}" for n in range(500)) + "}"),
    *(
        "{steps: 0.5}",
        "{steps: 2}",
        "{steps: .nan}",
        "{steps: true}",
        "{choice: [1]}",
        "{choice: [1, 1]}",
        "{choice: [[]]}",
    ),
    *(
        "{uniform: [0, 1]}",
        "{integer: [1, 1e30]}",
        "{log_uniform: [1e-320, 1e308]}",
        "{log_integer: [1, 4]}",
        "|\n  a\n b",
    ),
]
SNIPPETS = [*NUMBERS, *TEXTS, *OTHERS]
KEYS = [
    "r",
    "steps",
    "choice",
    "times",
    "catalogue",
    "seed",
    "point",
    "skip",
    "shape",
    "targets",
    "files",
    "<<",
    "",
    "self",
]


def written(node: Any) -> str:
    """YAML in one line, in which strings are quoted and `Raw` stands as it is."""
    if isinstance(node, Raw):
        return node.text
    if isinstance(node, dict):
        return "{" + ", ".join(f"{written(key)}: {written(value)}" for key, value in node.items()) + "}"
    if isinstance(node, list):
        return "[" + ", ".join(map(written, node)) + "]"
    return json.dumps(node)


def document(node: dict[Any, Any]) -> str:
    """The same, a line each key at the top."""
    return "".join(f"{written(key)}: {written(value)}\n" for key, value in node.items())


def mutated(tree: dict[str, Any], random: Random) -> str:
    """The text of a tree with one to three changes."""
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        holder, key = random.choice(list(_places(tree)))
        _change(holder, key, random)
    return document(tree)


def damaged(text: str, random: Random) -> str:
    """A text with a piece cut, doubled, moved or put in."""
    at = random.randrange(len(text) + 1)
    to = min(len(text), at + random.choice([1, 1, 2, 5, 20, 100]))
    piece = random.choice([*SNIPPETS, *"{}[]:,-?&*!|>'\"%@`#\t\n\r\x00\x1b\ufeff\x85\u2028é"])
    return random.choice(
        [
            text[:at] + text[to:],
            text[:at] + piece + text[at:],
            text[:at] + piece + text[to:],
            text[:at] + text[at:to] * 2 + text[to:],
            text[:at],
            text[at:],
            text.replace(": ", random.choice([":", " : ", ":\t", ": - ", ": ? "]), 1 + at % 3),
        ]
    )


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in list(children):
        yield node, key
        yield from _places(child)


def _change(holder: Any, key: Any, random: Random) -> None:
    kind = random.randrange(10)
    snippet = Raw(random.choice(random.choice([NUMBERS, TEXTS, OTHERS])))
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[snippet] = holder.pop(key)
    elif kind == 2 and isinstance(holder, dict):
        holder[random.choice(KEYS)] = snippet
    elif kind == 3 and isinstance(holder, list):
        holder.insert(key, snippet)
    elif kind == 4:
        holder[key] = [holder[key]]
    else:
        holder[key] = snippet
