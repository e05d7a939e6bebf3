"""One command with the files that it meets."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """A command to try.

    Attributes:
        label: what was mutated, for the summary.
        arguments: of `raypeft`.
        cwd: where it is called.
        prepare: lays the files, just before; it empties the folder that an earlier case has used.
        allowed: exit codes that are right.
    """

    label: str
    arguments: list[str]
    cwd: Path
    prepare: Callable[[], None]
    allowed: frozenset[int] = frozenset({0, 2, 3})


def emptied(folder: Path) -> Path:
    """The folder, made or emptied."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
