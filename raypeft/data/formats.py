"""Rows of data files: JSON lines, JSON arrays, CSV and Parquet, the texts also compressed by gzip."""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from raypeft.errors import UserError

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
NAMES = "JSON lines (.jsonl, .ndjson), JSON (.json), CSV (.csv, .tsv), Parquet (.parquet); texts also with .gz"


def read_rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Where each row stands (`line 3`, `row 3`), and the row: a mapping, unless the file holds something else.

    Raises:
        UserError: the file cannot be read, or is not what its suffix says.
        OSError: it is not there.
    """
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if suffix == ".parquet":
        return _parquet(path)
    if suffix not in (".jsonl", ".ndjson", ".json", ".csv", ".tsv"):
        raise UserError("is in no format that is read", where=str(path), hint=f"Formats: {NAMES}")
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8-sig")
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    if suffix in (".csv", ".tsv"):
        return _csv(text, path, "\t" if suffix == ".tsv" else ",")
    if suffix == ".json" and text.lstrip().startswith("["):
        return _array(text, path)
    return _lines(text, path)


def _lines(text: str, path: Path) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):  # not splitlines: JSON texts may hold U+2028 as it is
        if line.strip():
            try:
                yield f"line {number}", json.loads(line)
            except json.JSONDecodeError as error:
                raise UserError(f"is not JSON: {error}", where=f"{path}, line {number}") from error


def _array(text: str, path: Path) -> Iterator[tuple[str, Any]]:
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"is not JSON: {error}", where=str(path)) from error
    for number, row in enumerate(rows, start=1):
        yield f"row {number}", row


def _csv(text: str, path: Path, delimiter: str) -> Iterator[tuple[str, Any]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for number, row in enumerate(reader, start=1):
            if None in row:
                raise UserError("has more values than there are columns", where=f"{path}, row {number}")
            yield f"row {number}", row
    except csv.Error as error:
        raise UserError(f"is not CSV: {error}", where=f"{path}, line {reader.line_num}") from error


def _parquet(path: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    except pyarrow.ArrowException as error:
        raise UserError(f"is not Parquet: {error}", where=str(path)) from error
    for number, row in enumerate(rows, start=1):
        yield f"row {number}", row
