"""The terminal: text is shown, never obeyed, whatever it holds and whatever the terminal can show."""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from raypeft.errors import UserError
from raypeft.output.text import UNPRINTABLE, discreet, duration, printable

_ENDLESS = 100_000
LINE_EVERY = 20.0  # seconds, where there is no terminal to draw on
LONGEST_LINE = 2000
LONGEST_ERROR, LONGEST_HINT = 2000, 500


def terminal(*, stderr: bool = False) -> Console:
    """The terminal, on which text has no markup."""
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False)


def say(console: Console, text: str) -> None:
    """Show a line, the beginning of one that is too long for a terminal."""
    text = text if len(text) <= LONGEST_LINE else f"{text[:LONGEST_LINE]}…"
    console.print(discreet(text), soft_wrap=True, markup=False, highlight=False, emoji=False)


class Clock:
    """Counts what is done out of a total and extrapolates from the pace of this execution alone."""

    def __init__(self, total: int, done: int = 0) -> None:
        self.total = total
        self.done = done
        self.partial = 0.0
        self._before = done
        self._start = time.monotonic()

    def step(self) -> None:
        """One more is done."""
        self.done += 1

    def __str__(self) -> str:
        elapsed = time.monotonic() - self._start
        here = self.done - self._before + self.partial
        left = self.total - self.done - self.partial
        eta = f", about {duration(elapsed / here * left)} left" if self.done > self._before and left > 0 else ""
        return f"{self.done}/{self.total} {duration(elapsed)}{eta}"


def echo(text: object, *, err: bool = False) -> None:
    """Print text of one or more lines."""
    _write(printable(str(text)), err=err)


def echo_lines(lines: Iterable[str]) -> None:
    """Print lines; what is in one of them cannot begin another."""
    for line in lines:
        echo(in_one_line(line))


def echo_json(content: Any) -> None:
    """Print as JSON, in which what cannot be printed is escaped."""
    text = json.dumps(content, indent=2, ensure_ascii=not (sys.stdout.encoding or "").lower().startswith("utf"))
    _write(UNPRINTABLE.sub(lambda match: json.dumps(match[0])[1:-1], text))


def echo_error(error: UserError) -> None:
    """Print an error, of which what is too long for a terminal is put into a file."""
    text = discreet(f"raypeft: {error}")
    if len(text) > LONGEST_ERROR:
        hint = discreet(error.hint or "")[-LONGEST_HINT:]
        text = f"{text[: LONGEST_ERROR - len(hint)]}…\n{_kept(text)}\n{hint}".rstrip()
    _write(text, err=True)


def _kept(text: str) -> str:
    """Where an error can be read to its end."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", prefix="raypeft_error_", suffix=".txt", delete=False
        ) as file:
            file.write(f"{text}\n")
    except OSError:
        return f"({len(text):,} characters in all)"
    return f"All of it: {file.name}"


class LinesTable(Table):
    """A table without rules, for `print_lines`."""

    def add_row(self, *cells: object) -> None:  # type: ignore[override]
        """Add a row, of texts that take one line each."""
        super().add_row(*(Text(in_one_line(str(cell))) for cell in cells))


def lines_table(*names: str, right: tuple[str, ...] = ()) -> LinesTable:
    """A table without rules, for `print_lines`.

    Args:
        names: headings of its columns; what may be long belongs last.
        right: those set flush right.
    """
    table = LinesTable(box=None, pad_edge=False, header_style="")
    for name in names:
        table.add_column(Text(in_one_line(name)), justify="right" if name in right else "left", no_wrap=True)
    return table


def table_lines(table: LinesTable) -> list[str]:
    """One line a row however narrow the terminal is, so that lines can be searched and cut by other tools."""
    console = Console(width=_ENDLESS, color_system=None, force_jupyter=False)
    with console.capture() as captured:
        console.print(table)
    return [line.rstrip() for line in captured.get().splitlines()]


def print_lines(table: LinesTable) -> None:
    """Print a table as `table_lines` has it."""
    for line in table_lines(table):
        _write(line)


@contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Progress with the time left, apart from the output: a changing line in a terminal, a line now and then elsewhere.

    Args:
        what: is being done.
        total: how often.

    Returns:
        Called with how many more are done.
    """
    console, clock = terminal(stderr=True), Clock(total)
    last = time.monotonic()
    with console.status(f"{what}: {clock}") as status:

        def advance(count: int) -> None:
            nonlocal last
            clock.done += count
            status.update(f"{what}: {clock}")
            if not console.is_terminal and time.monotonic() - last >= LINE_EVERY:
                last = time.monotonic()
                console.print(f"{what}: {clock}")

        yield advance


def _write(text: str, *, err: bool = False) -> None:
    print(text, file=sys.stderr if err else sys.stdout, flush=True)


def in_one_line(text: str) -> str:
    """Text that cannot begin another line."""
    return printable(text).replace("\n", "\\n")
