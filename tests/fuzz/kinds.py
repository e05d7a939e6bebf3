"""The modules that make cases: each has `cases(seed, folder)`, an endless iterator of `Case`."""

from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from tests.fuzz.case import Case

NAMES = ("specs", "names", "data", "runs")
Cases = Callable[[int, Path], Iterator[Case]]


def kinds(only: str | None = None) -> dict[str, Cases]:
    """Those that exist, by name; with `only` that one."""
    wanted = [name for name in NAMES if only in (None, name)]
    return {
        name: import_module(f"tests.fuzz.{name}").cases
        for name in wanted
        if find_spec(f"tests.fuzz.{name}") is not None
    }


def drawn(seed: int, folder: Path, only: str | None = None, skip: int = 0) -> Iterator[tuple[str, int, Case]]:
    """(kind, number in the kind, case), evenly from the kinds, without end.

    Args:
        seed: of the cases.
        folder: each kind works in a folder of its name below it.
        only: the kind, if it is to be one alone.
        skip: cases of each kind that are left out.
    """
    streams = {name: enumerate(cases(seed, folder / name)) for name, cases in kinds(only).items()}
    if not streams:
        raise ValueError(f"there is no module tests.fuzz.{only}")
    for stream in streams.values():
        for _ in range(skip):
            next(stream)
    while True:
        for name, stream in streams.items():
            number, case = next(stream)
            yield name, number, case
