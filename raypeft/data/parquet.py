"""Rows of Parquet files."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from raypeft.data.contents import LARGEST, too_large
from raypeft.data.rows import MOST_ROWS, BadRow, Row, shown, too_many, twice
from raypeft.errors import UserError

# What pyarrow raises where a file is damaged, or a value is none that Python has; a plain OSError among it.
_DAMAGED = (ValueError, TypeError, ArithmeticError, LookupError, OSError, MemoryError, NotImplementedError)
_BATCH = 1024


def parquet_rows(content: bytes, path: Path, columns: Collection[str]) -> Iterator[Row]:
    """Rows with the values of some columns, the others none: what is not used need not be readable.

    Args:
        content: of the file.
        path: of the file, for messages.
        columns: those that are used; all, where none is named.

    Raises:
        UserError: it is not Parquet, has such a column twice, or holds more than is read.
    """
    import pyarrow
    import pyarrow.parquet

    damaged = (*_DAMAGED, pyarrow.ArrowException)
    number = size = 0
    try:
        file = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(content))
        names = list(file.schema_arrow.names)
        used = [name for name in dict.fromkeys(names) if not columns or name in columns]
        if file.metadata.num_rows > MOST_ROWS:
            raise too_many(path)
        if _stated_size(file.metadata, used) > LARGEST:
            raise too_large(path)
        if repeated := [name for name in used if names.count(name) > 1]:
            raise UserError(twice(repeated[0]), where=str(path))
        others = dict.fromkeys(names)
        # A text that many rows share is kept once.
        file = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(content), read_dictionary=_texts(file, used))
        for batch in file.iter_batches(_BATCH, columns=used):
            for values in _rows(batch, used, damaged):
                number += 1
                size += sum(len(value) for value in values if isinstance(value, str))
                if number > MOST_ROWS:
                    raise too_many(path)
                if size > LARGEST:
                    raise too_large(path)
                wrong = next((value for value in values if isinstance(value, BadRow)), None)
                yield f"row {number}", wrong or {**others, **dict(zip(used, values, strict=True))}
    except damaged as error:
        raise UserError(f"is not Parquet: {shown(str(error))}", where=str(path)) from error


def _rows(batch: Any, used: Collection[str], damaged: tuple[type[BaseException], ...]) -> Iterator[tuple[Any, ...]]:
    """Values of each row."""
    if not used:
        return iter([()] * batch.num_rows)
    return zip(*(_values(batch.column(name), name, damaged) for name in used), strict=True)


def _stated_size(metadata: Any, used: Collection[str]) -> int:
    """Bytes of the columns that are used, as the file says of itself."""
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    chunks = [group.column(index) for group in groups for index in range(group.num_columns)]
    return sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema.split(".")[0] in used)


def _texts(file: Any, used: Collection[str]) -> list[str]:
    import pyarrow

    kinds = (pyarrow.types.is_string, pyarrow.types.is_large_string)
    return [name for name in used if any(kind(file.schema_arrow.field(name).type) for kind in kinds)]


def _values(array: Any, name: str, damaged: tuple[type[BaseException], ...]) -> Iterator[Any]:
    """Values of a column, `BadRow` in place of one that cannot be read."""
    import pyarrow

    if isinstance(array, pyarrow.DictionaryArray):
        known: dict[int | None, Any] = {None: None}
        for index in array.indices.to_pylist():
            if index not in known:
                known[index] = _value(array.dictionary[index], name, damaged)
            yield known[index]
        return
    try:
        yield from array.to_pylist()
    except damaged:
        yield from (_value(scalar, name, damaged) for scalar in array)


def _value(scalar: Any, name: str, damaged: tuple[type[BaseException], ...]) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return BadRow(f"has a text in the column '{shown(name)}' that is not UTF-8")
    except damaged as error:
        return BadRow(f"has a value in the column '{shown(name)}' that cannot be read: {shown(str(error))}")
