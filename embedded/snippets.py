"""The data set `snippets`: draws intents with code from the families, and splits them without leaks.

    python -m embedded.snippets [FOLDER]     writes the splits of it and of its two parts (default: raypeft/embedded)

About one (family, option) pair in eight, say `list.filter` with `cond:range`, is kept out of the training split and
makes a third of the validation and test splits: these items need what the model knew before it was tuned.
"""

import ast
import json
import random
import re
import sys
import zlib
from pathlib import Path
from typing import NamedTuple

from embedded.families import Family, load
from embedded.slots import Filling, fill, pick

FOLDER = Path(__file__).parents[1] / "raypeft" / "embedded"
SIZES = {"test": 160, "validation": 96, "train": 640}
TOPICS = {
    "snippets": ("lists", "mappings", "science", "strings", "system"),
    "snippets-collections": ("lists", "mappings", "science"),
    "snippets-texts": ("strings", "system"),
}
SEED = 20240
UNSEEN_SHARE = 1 / 3
LONGEST = 90  # characters of code
HOUSE_NAMES = {"$x": "x", "$y": "y", "$k": "k", "$v": "v"}
SLOT = re.compile(r"\{([a-z]+\d?)\}")
ALTERNATIVES = re.compile(r"\(([^()]*\|[^()]*)\)")


class Snippet(NamedTuple):
    """One drawn item; `codes` are the family's idioms with the same slots, still with `$x` for loop variables."""

    family: str
    options: tuple[str, ...]
    intent: str
    codes: tuple[str, ...]

    @property
    def cmd(self) -> str:
        """The code as the data set writes it: first idiom, loop variables x, y, k, v."""
        return rename(self.codes[0], HOUSE_NAMES)

    @property
    def nl(self) -> str:
        """The intent as the data set writes it."""
        return rename(self.intent, HOUSE_NAMES)


def rename(text: str, names: dict[str, str]) -> str:
    """Put real names in the place of `$x`, `$y`, `$k`, `$v`."""
    for placeholder, real in names.items():
        text = text.replace(placeholder, real)
    return text


def draw(rng: random.Random, families: tuple[Family, ...]) -> Snippet:
    """Draw a family, one of its intents and what fills its slots, the same in the intent and in every idiom."""
    family = pick(rng, families)
    intent = ALTERNATIVES.sub(lambda match: pick(rng, match[1].split("|")), pick(rng, family.intents))
    template = "\n".join(family.codes)
    # names of one kind (list, list2) must differ, or the task is another one
    fillings: dict[str, Filling] = {}
    for label in dict.fromkeys(SLOT.findall(intent + template)):
        filling = fill(rng, label)
        while any(
            filling.python and filling.python == other.python and label[:-1] == name for name, other in fillings.items()
        ):
            filling = fill(rng, label)
        fillings[label] = filling
    # composed fillings may name an outer slot (`{arr} > 5`): two passes resolve it
    for _ in range(2):
        intent = SLOT.sub(lambda match: fillings[match[1]].english if match[1] in fillings else match[0], intent)
        template = SLOT.sub(lambda match: fillings[match[1]].python if match[1] in fillings else match[0], template)
    options = tuple(filling.option for filling in fillings.values() if filling.option)
    return Snippet(family.name, options, " ".join(intent.split()), tuple(template.split("\n")))


def kept_out(family: str, option: str) -> bool:
    """Whether the training split must not see this option of this family."""
    return zlib.crc32(f"{family}/{option}".encode()) % 8 == 0


def usable(snippet: Snippet) -> bool:
    """Whether the code is one short line that parses, and the intent says something the code does not."""
    if len(snippet.cmd) > LONGEST or snippet.nl == snippet.cmd:
        return False
    ast.parse(snippet.cmd)
    return True


def draw_splits(seed: int = SEED) -> dict[str, list[Snippet]]:
    """Draw the snippets of each split; no intent and no code occurs twice, neither inside a split nor across them."""
    rng, families = random.Random(seed), load()
    seen: set[str] = set()
    splits: dict[str, list[Snippet]] = {}
    for split, size in SIZES.items():
        chosen: list[Snippet] = []
        unseen = round(size * UNSEEN_SHARE) if split != "train" else 0
        while len(chosen) < size:
            snippet = draw(rng, families)
            is_unseen = any(kept_out(snippet.family, option) for option in snippet.options)
            if not usable(snippet) or is_unseen != (len(chosen) < unseen) or {snippet.nl.lower(), snippet.cmd} & seen:
                continue
            seen |= {snippet.nl.lower(), snippet.cmd}
            chosen.append(snippet)
        splits[split] = sorted(chosen, key=lambda snippet: zlib.crc32(snippet.nl.encode()))
    return splits


def rows(snippets: list[Snippet], split: str) -> list[dict[str, str]]:
    """Rows {"id", "nl", "cmd"} as the files hold them; an id is `<split>-<number>`."""
    return [{"id": f"{split}-{number:03d}", "nl": s.nl, "cmd": s.cmd} for number, s in enumerate(snippets)]


def write(folder: Path) -> None:
    """Write the data set and its parts: a folder each, one JSONL file a split. A row has the same id in all of them."""
    topics = {family.name: family.topic for family in load()}
    for split, snippets in draw_splits().items():
        numbered = list(zip(rows(snippets, split), snippets, strict=True))
        for name, wanted in TOPICS.items():
            kept = [row for row, snippet in numbered if topics[snippet.family] in wanted]
            lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in kept]
            (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / name / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
