"""How verbs print tables."""

import typer
from rich.console import Console
from rich.table import Table

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
