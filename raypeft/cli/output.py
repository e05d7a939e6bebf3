"""How verbs print tables."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.table import Table

from raypeft.progress import LINE_EVERY, Clock

_ENDLESS = 100_000


def lines_table(*names: str, right: tuple[str, ...] = ()) -> Table:
    """A table without rules, for `print_lines`.

    Args:
        names: headings of its columns; what may be long belongs last.
        right: those set flush right.
    """
    table = Table(box=None, pad_edge=False, header_style="")
    for name in names:
        table.add_column(name, justify="right" if name in right else "left", no_wrap=True)
    return table


def print_lines(table: Table) -> None:
    """Print one line a row however narrow the terminal is, so that lines can be searched and cut by other tools."""
    console = Console(width=_ENDLESS, color_system=None)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        typer.echo(line.rstrip())


@contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Progress with the time left, apart from the output: a changing line in a terminal, a line now and then elsewhere.

    Args:
        what: is being done.
        total: how often.

    Returns:
        Called with how many more are done.
    """
    console, clock = Console(stderr=True), Clock(total)
    last = time.monotonic()
    with console.status(f"{what}: {clock}") as status:

        def advance(count: int) -> None:
            nonlocal last
            clock.done += count
            status.update(f"{what}: {clock}")
            if not console.is_terminal and time.monotonic() - last >= LINE_EVERY:
                last = time.monotonic()
                console.print(f"{what}: {clock}", highlight=False, markup=False)

        yield advance
