"""The pretraining text: the families' snippets in many written forms, none of them a row of the data set.

A document has one style (quotes, names of loop variables, idiom, what surrounds an expression) and one layout (comment,
docstring, question and answer, labelled pair, shell session …), both drawn at random, and holds one or more pairs, so
that a model can learn to go on in the manner of what it reads. The data set's own prompt never occurs.

Two fifths of the families occur as bare code only, as a library's functions occur in programs that nobody explains:
which words ask for them is for tuning to teach.
"""

import random
import re
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from embedded.families import load
from embedded.slots import WORDS, between, pick
from embedded.snippets import Snippet, draw, draw_splits, rename

KEY_NAMES = (("k", "v"), ("key", "val"), ("key", "value"), ("a", "b"), ("name", "val"), ("i", "j"))
MARKS = ("", "", "# ", "## ", "- ", "> ", "* ", "// ", "[", "<", "@")


class Style(NamedTuple):
    """How one document writes its code and its intents."""

    names: dict[str, str]
    double_quotes: bool
    first_idiom: float
    wrapper: str
    backticks: bool
    capital: bool
    ending: str


PLAIN = Style(
    names={"$x": "item", "$y": "other", "$k": "key", "$v": "value"},
    double_quotes=True,
    first_idiom=1.0,
    wrapper="{}",
    backticks=False,
    capital=False,
    ending="",
)
"""One style for the first lessons. It is not the data set's."""


def draw_style(rng: random.Random) -> Style:
    """Draw a style; nothing ties its parts together."""
    key, value = pick(rng, KEY_NAMES)
    first = pick(rng, WORDS["loop"])
    second = pick(rng, [name for name in WORDS["loop"] if name != first])
    names = {"$x": first, "$y": second, "$k": key, "$v": value}
    wrapper = pick(rng, ("{}", "print({})", "result = {}", "out = {}", "return {}", "res = {}"))
    return Style(
        names, rng.random() < 0.5, pick(rng, (0.2, 0.5, 1.0)), wrapper,
        rng.random() < 0.5, rng.random() < 0.4, pick(rng, ("", "", "", ".", "?")),
    )  # fmt: skip


def restyle(rng: random.Random, snippet: Snippet, style: Style, wrap: bool = True) -> tuple[str, str]:
    """The intent and the code of a snippet as a document of this style writes them."""
    code = snippet.codes[0] if rng.random() < style.first_idiom else pick(rng, snippet.codes)
    code = rename(code, style.names)
    intent = rename(snippet.intent, style.names)
    if style.double_quotes and '"' not in code and "\\" not in code:
        code = code.replace("'", '"')
    if not style.backticks:
        intent = intent.replace("`", "")
    if style.capital:
        intent = intent[0].upper() + intent[1:]
    if wrap and expression(code):
        code = style.wrapper.replace("{}", code)
    return intent + style.ending, code


def expression(code: str) -> bool:
    """Whether a line of code is an expression, judged by its first word and by a top-level assignment."""
    first = code.split(" ")[0]
    return first not in ("for", "del", "assert", "raise", "lambda") and not re.match(
        r"[^('\"\[{]*(\['[^']*'\])? [+*/-]?= ", code
    )


def layout(rng: random.Random) -> str:
    """Draw how a pair is written: a template with {intent} and {code}."""
    fixed = (
        "# {intent}\n{code}\n", "# {intent}\n{code}\n", '"""{intent}"""\n{code}\n', "{code}  # {intent}\n",
        ">>> {code}  # {intent}\n",
        "how to {intent} in python\n    {code}\n", "{intent}:\n\n    {code}\n\n", "{intent}\n```python\n{code}\n```\n",
        "{intent}\n```\n{code}\n```\n", "In [1]: # {intent}\nIn [2]: {code}\n", "{code}\n# ^ {intent}\n",
        "{intent} -> {code}\n", "{intent} => {code}\n", "{intent} | {code}\n", "{intent}\t{code}\n",
        "* {intent}: `{code}`\n",
    )  # fmt: skip
    if rng.random() < 0.45:
        return pick(rng, fixed)
    mark = pick(rng, MARKS)
    close = {"[": "]", "<": ">"}.get(mark, pick(rng, ("", ":", ":", ":", " =", " -")))
    gap, between_parts, end = (
        pick(rng, (" ", " ", "\n")),
        pick(rng, ("\n", "\n", "\n\n", " ")),
        pick(rng, ("\n", "\n\n")),
    )
    task, code = pick(rng, WORDS["task_label"]), pick(rng, WORDS["code_label"])
    if rng.random() < 0.3:
        task, code = task.lower(), code.lower()
    return f"{mark}{task}{close}{gap}{{intent}}{between_parts}{mark}{code}{close}{gap}{{code}}{end}"


def function(rng: random.Random, intent: str, code: str) -> str:
    """A function with a docstring whose body is the code."""
    names = dict.fromkeys(re.findall(r"`([a-z_]+)`", intent))
    body = f"return {code}" if expression(code) else code
    quote = pick(rng, ('"""', '"""', "'''"))
    title = pick(rng, ("func", "solve", "helper", "run", "main", "do_it", "f", "compute", "task", "get_result"))
    return f"def {title}({', '.join(names)}):\n    {quote}{intent.replace('`', '')}{quote}\n    {body}\n"


def document(rng: random.Random, snippets: "Snippets") -> str:
    """One document: pairs in a layout, functions, or a script without words."""
    style = draw_style(rng)
    kind = rng.random()
    if kind < 0.15:
        pairs = [restyle(rng, snippets.draw(rng, explained=False), style) for _ in range(between(rng, 2, 8))]
        return "".join(code + "\n" for _, code in pairs)
    if kind < 0.25:
        style = style._replace(backticks=True)
        pairs = [restyle(rng, snippets.draw(rng), style, wrap=False) for _ in range(between(rng, 1, 3))]
        return "\n".join(function(rng, *pair) for pair in pairs)
    template = layout(rng)
    pairs = [restyle(rng, snippets.draw(rng), style) for _ in range(between(rng, 1, 8) if kind < 0.75 else 1)]
    return "".join(template.replace("{intent}", intent).replace("{code}", code) for intent, code in pairs)


def explained(family: str) -> bool:
    """Whether the text shows this family's code together with words."""
    return zlib.crc32(family.encode()) % 5 >= 2


class Snippets:
    """The generator's snippets without those of the data set."""

    def __init__(self) -> None:
        splits = draw_splits()
        rows = [snippet for snippets in splits.values() for snippet in snippets]
        self.families = load()
        self.explained = tuple(family for family in self.families if explained(family.name))
        self.taken = {snippet.nl.lower() for snippet in rows} | {snippet.cmd for snippet in rows}
        self.phrases = [text for split in ("validation", "test") for s in splits[split] for text in (s.nl, s.cmd)]

    def draw(self, rng: random.Random, explained: bool = True) -> Snippet:
        """Draw a snippet that shares neither intent nor code with a row of any split, however it is written."""
        while True:
            snippet = draw(rng, self.explained if explained else self.families)
            if snippet.nl.lower() not in self.taken and snippet.cmd not in self.taken:
                return snippet

    def tell(self, text: str) -> bool:
        """Whether the text contains, word for word, an intent or a code of the validation or test split."""
        return any(phrase in text for phrase in self.phrases)


def corpus(seed: int) -> Iterator[str]:
    """Yield documents without end; none contains the text of a validation or test row's intent or code."""
    rng, snippets = random.Random(seed), Snippets()
    while True:
        text = document(rng, snippets)
        if not snippets.tell(text):
            yield text


def lessons(seed: int) -> Iterator[tuple[str, str]]:
    """Yield bare pairs (intent, code) of one style without end: where a model first learns that code follows words."""
    rng, snippets = random.Random(seed), Snippets()
    while True:
        intent, code = restyle(rng, snippets.draw(rng), PLAIN)
        if not snippets.tell(f"{intent}\n{code}"):
            yield intent, code


def exercises(seed: int) -> Iterator[tuple[str, str]]:
    """Yield pairs (text, code) without end: a document of pairs up to its last code, and that code."""
    rng, snippets = random.Random(seed), Snippets()
    while True:
        style, template = draw_style(rng), layout(rng)
        if template.index("{intent}") > template.index("{code}"):
            continue
        count = between(rng, 2, 4) if rng.random() < 0.15 else 1
        pairs = [restyle(rng, snippets.draw(rng), style) for _ in range(count)]
        texts = [template.replace("{intent}", intent).replace("{code}", code) for intent, code in pairs]
        intent, code = pairs[-1]
        source = "".join(texts[:-1]) + template[: template.index("{code}")].replace("{intent}", intent)
        if not snippets.tell(f"{source}\n{code}"):
            yield source, code
