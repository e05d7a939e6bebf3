"""Tables of a report: what their columns hold, and their Markdown and CSV."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raypeft.output.text import ABSENT, markdown, one_line, printable

Value = Any


@dataclass(frozen=True)
class Column:
    """One column: a value of each row, and how it is shown.

    Attributes:
        key: heading in CSV; empty for a column that only readers see.
        title: heading for readers; empty for a column that only CSV has.
        value: of a row; none where the row has none.
        show: how a value is shown to readers.
        numeric: whether it is set flush right.
        long: whether it is text that may take several lines.
        emphasised: whether it is bold in rows that are the best of their kind.
        bold: rows in which it is bold, whatever the row is.
    """

    key: str
    title: str
    value: Callable[[Any], Value]
    show: Callable[[Any], str] = str
    numeric: bool = False
    long: bool = False
    emphasised: bool = False
    bold: Callable[[Any], bool] | None = None

    def text(self, row: Any) -> str:
        """The value as a reader sees it."""
        value = self.value(row)
        return ABSENT if value is None else one_line(self.show(value))

    def sort_value(self, row: Any) -> float | str:
        """What a numeric column is sorted by: the number, of a compound its mean or low end; empty if none."""
        value = self.value(row)
        for part in ("mean", "low"):
            value = getattr(value, part, value)
        return float(value) if isinstance(value, int | float) else ""


@dataclass(frozen=True)
class Table:
    """Rows and the columns they are shown in.

    Attributes:
        name: of its files.
        title: heading.
        best: whether a row is the best of its kind.
        caption: what a reader has to know: units, how a number came about.
    """

    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Any]
    best: Callable[[Any], bool]
    caption: str

    @property
    def visible(self) -> list[Column]:
        """Columns that readers see."""
        return [column for column in self.columns if column.title]

    def bold(self, column: Column, row: Any) -> bool:
        """Whether a value is set in bold."""
        return column.bold(row) if column.bold else column.emphasised and self.best(row)


def to_csv(table: Table) -> str:
    """As CSV with unrounded numbers; mappings as JSON, missing values empty."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    columns = [column for column in table.columns if column.key]
    writer.writerow([column.key for column in columns])
    writer.writerows([_csv_value(column.value(row)) for column in columns] for row in table.rows)
    return stream.getvalue()


def to_markdown(table: Table) -> str:
    """As a Markdown table under its heading, the best rows in bold."""
    columns = table.visible
    lines = [
        f"## {markdown(table.title)}",
        "",
        markdown(table.caption),
        "",
        _line(markdown(column.title) for column in columns),
        _line("---:" if column.numeric else ":---" for column in columns),
        *(_line(_markdown_cell(table, column, row) for column in columns) for row in table.rows),
    ]
    return "\n".join(lines) + "\n"


def _csv_value(value: Value) -> Value:
    if isinstance(value, Mapping):
        return printable(json.dumps(dict(value), ensure_ascii=False))
    if isinstance(value, str):
        # A spreadsheet takes text that starts so for a formula, and error texts are not ours.
        value = printable(value)
        return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
    return value


def _markdown_cell(table: Table, column: Column, row: Any) -> str:
    text = markdown(column.text(row))
    return f"**{text}**" if table.bold(column, row) else text


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
