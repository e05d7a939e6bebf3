"""The families of snippets, one block each in the text files beside this module.

A block is the family's name, two intents (`(a|b)` are alternatives) and its code: the first is the form
the data set uses, further ones are other idioms that only the pretraining text shows. Blocks end with an empty line.
`{list}` is a slot (see `embedded.slots`), `$x $y $k $v` are loop variables.
"""

from pathlib import Path
from typing import NamedTuple


class Family(NamedTuple):
    """One kind of task: two intents with the same slots, and the idioms that solve it; `topic` is its file."""

    name: str
    intents: tuple[str, ...]
    codes: tuple[str, ...]
    topic: str


def load() -> tuple[Family, ...]:
    """Every family, in the order of the files and of the blocks in them."""
    families = []
    for path in sorted(Path(__file__).parent.glob("*.txt")):
        for block in path.read_text(encoding="utf-8").strip().split("\n\n"):
            name, first, second, *codes = block.split("\n")
            families.append(Family(name, (first, second), tuple(codes), path.stem))
    return tuple(families)
