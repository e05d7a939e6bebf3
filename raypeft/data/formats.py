"""Rows of data files: JSON lines, JSON arrays, CSV and Parquet, also compressed by gzip.

`datasets` does not read these: of JSON it makes dates of texts and reals of long whole numbers, of CSV it takes the
wrong columns where rows are too long and makes no difference between short rows and empty texts, it names neither lines
nor all that is wrong, and a plan would have to load it.
"""

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, TypeVar

from raypeft.data.contents import MIB, decoded, read_content
from raypeft.data.parquet import parquet_rows
from raypeft.data.rows import MOST_ROWS, BadRow, Row, refusal, too_many, twice
from raypeft.errors import UserError

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
NAMES = "JSON lines (.jsonl, .ndjson), JSON (.json), CSV (.csv, .tsv), Parquet (.parquet); texts also with .gz"
# The most that is parsed at once: parsed, it can take twenty times the memory.
LONGEST_LINE = 16 * MIB
LARGEST_ARRAY = 64 * MIB
# A row that is wrong seldom comes alone; of a file that is something else altogether there is no need to see all.
MOST_WRONG = 1000

T = TypeVar("T")
Use = Callable[[str, Mapping[str, Any]], T]

_LINE_END = re.compile(r"\r\n|\r|\n")
_GAP = re.compile(r"[ \t\r\n]*")
_NOT_UTF8 = re.compile("[\udc80-\udcff]")


def read_rows(path: Path, use: Use[T], columns: Collection[str] = (), rows: Iterable[Row] | None = None) -> Iterator[T]:
    """What is made of each row of a file.

    Args:
        path: the file; its suffix says what it is.
        use: takes where a row stands (`line 3`, `row 3`) and the row; raises `BadRow` where it cannot use it.
        columns: those that are used: of these none may stand twice, and a Parquet file's others are none in each row.
            All, where none is named.
        rows: those of `path`, where it is no file that is read here.

    Raises:
        UserError: the file cannot be read, or is not what its suffix says; after the last row, which rows cannot be
            used, and why.
        OSError: it is not there, or may not be read.
    """
    wrong: list[tuple[str, str]] = []
    for place, row in _rows(path, columns) if rows is None else rows:
        try:
            if isinstance(row, BadRow):
                raise row
            if not isinstance(row, dict):
                raise BadRow("is not a JSON object")
            made = use(place, row)
        except BadRow as error:
            wrong.append((place, str(error)))
            if len(wrong) == MOST_WRONG:
                break
        else:
            yield made
    if wrong:
        raise refusal(path, wrong, complete=len(wrong) < MOST_WRONG)


def _rows(path: Path, columns: Collection[str]) -> Iterator[Row]:
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if suffix not in SUFFIXES:
        raise UserError("is in no format that is read", where=str(path), hint=f"Formats: {NAMES}")
    content = read_content(path)
    if suffix == ".parquet":
        return parquet_rows(content, path, columns)
    text = decoded(content, path)
    if suffix in (".csv", ".tsv"):
        return _csv(text, path, "\t" if suffix == ".tsv" else ",", columns)
    if suffix == ".json" and text.lstrip().startswith("["):
        return _array(text, path)
    return _lines(text, path)


def _split(text: str, path: Path) -> Iterator[str]:
    """Lines with their ends; not by `splitlines`, since JSON texts may hold U+2028 as it is."""
    if text.count("\n") + text.count("\r") - text.count("\r\n") > MOST_ROWS:
        raise too_many(path)
    start = 0
    ends = (found.end() for found in _LINE_END.finditer(text))
    for number, end in enumerate(chain(ends, [len(text)]), start=1):
        if end - start > LONGEST_LINE:
            what = f"is longer than {LONGEST_LINE // MIB} MiB, the most that is read of a line"
            raise UserError(what, where=f"{path}, line {number}")
        if end > start:
            yield text[start:end]
        start = end


def _lines(text: str, path: Path) -> Iterator[Row]:
    for number, line in enumerate(_split(text, path), start=1):
        if line.strip():
            yield f"line {number}", _parsed(line)


def _parsed(line: str) -> Any:
    if not line.isascii() and _NOT_UTF8.search(line):
        return BadRow("is not UTF-8")
    try:
        return json.loads(line.rstrip("\r\n"), object_pairs_hook=_object)
    except BadRow as error:
        return error
    except json.JSONDecodeError as error:
        return BadRow(f"is not JSON: {error.msg} at column {error.colno}")
    except (ValueError, RecursionError) as error:
        return BadRow(_reason(error))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise BadRow(twice(Counter(name for name, _ in pairs).most_common(1)[0][0]))
    return found


def _reason(error: ValueError | RecursionError) -> str:
    """Why Python's parser gives up on JSON."""
    if isinstance(error, json.JSONDecodeError):
        return f"is not JSON: {error}"
    if isinstance(error, RecursionError):
        return "is nested more deeply than can be read"
    return "holds a whole number with more digits than can be read"


def _array(text: str, path: Path) -> Iterator[Row]:
    """Row by row, so that one that cannot be parsed is named; nothing after it can be found."""
    if len(text) > LARGEST_ARRAY:
        raise UserError(
            f"holds more than {LARGEST_ARRAY // MIB} MiB, the most that is read of a JSON array",
            where=str(path),
            hint="Write it as JSON lines (.jsonl).",
        )
    if found := _NOT_UTF8.search(text):
        line = len(_LINE_END.findall(text, 0, found.start())) + 1
        raise UserError("is not UTF-8", where=f"{path}, line {line}")
    decoder = json.JSONDecoder(object_pairs_hook=_object)
    number, position = 0, _next(text, text.index("[") + 1)
    closed = text[position : position + 1] == "]"
    while not closed:
        number += 1
        if number > MOST_ROWS:
            raise too_many(path)
        try:
            row, end = decoder.raw_decode(text, position)
            position = _next(text, end)
            closed = text[position : position + 1] == "]"
            if not closed and text[position : position + 1] != ",":
                raise json.JSONDecodeError("Expecting ',' delimiter", text, position)
        except BadRow as error:
            raise UserError(str(error), where=f"{path}, row {number}") from error
        except (ValueError, RecursionError) as error:
            where = str(path) if isinstance(error, json.JSONDecodeError) else f"{path}, row {number}"
            raise UserError(_reason(error), where=where) from error
        yield f"row {number}", row
        position = position if closed else _next(text, position + 1)
    if (position := _next(text, position + 1)) < len(text):
        raise UserError(f"is not JSON: {json.JSONDecodeError('Extra data', text, position)}", where=str(path))


def _next(text: str, position: int) -> int:
    found = _GAP.match(text, position)
    return found.end() if found else position


def _csv(text: str, path: Path, delimiter: str, columns: Collection[str]) -> Iterator[Row]:
    csv.field_size_limit(LONGEST_LINE)
    reader = csv.reader(_split(text, path), delimiter=delimiter, strict=True)
    number, begins = 0, 1
    try:
        names = next(filter(None, reader), [])
        if repeated := [name for name in columns or names if names.count(name) > 1]:
            raise UserError(twice(repeated[0]), where=str(path))
        if any(map(_NOT_UTF8.search, names)):
            raise UserError("is not UTF-8", where=f"{path}, line {reader.line_num}", hint="Save it as UTF-8.")
        begins = reader.line_num + 1
        for values in reader:
            if values:
                number += 1
                yield f"row {number}", _named(names, values)
            begins = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"is not CSV: {error}", where=f"{path}, line {begins}") from error


def _named(names: list[str], values: list[str]) -> dict[str, str | None] | BadRow:
    """A row with none for what a short one lacks."""
    if len(values) > len(names):
        return BadRow("has more values than there are columns")
    if any(map(_NOT_UTF8.search, values)):
        return BadRow("is not UTF-8")
    return dict(zip_longest(names, values))
