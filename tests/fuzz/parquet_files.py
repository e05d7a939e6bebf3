"""Parquet files with columns of odd types, values that Python does not have, and a great deal in little."""

import io
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from random import Random
from typing import Any

import pyarrow
import pyarrow.parquet


def parquet(found: list[Any], random: Random) -> bytes:
    """Rows, of which values, columns or their types may be changed."""
    usable = [row for row in found if isinstance(row, dict)]
    columns = {name: [row.get(name) for row in usable] for name in ("id", "nl", "cmd")}
    arrays = [_array(column, random) for column in columns.values()]
    names = list(columns)
    if random.random() < 0.3:
        position = random.randrange(len(names))
        arrays[position] = _odd_array(len(usable), random)
    if random.random() < 0.2:
        names[random.randrange(3)] = random.choice(["nl", "cmd", "a.b", "nl.x", "", "\x00", "é"])
    if random.random() < 0.3:
        arrays.append(_odd_array(len(usable), random))
        names.append(random.choice(["when", "nl", "x"]))
    sink = io.BytesIO()
    how = {"compression": random.choice(["none", "snappy", "zstd", "gzip"]), "use_dictionary": random.random() < 0.7}
    try:
        pyarrow.parquet.write_table(pyarrow.Table.from_arrays(arrays, names), sink, **how)
    except (pyarrow.ArrowException, ValueError):
        return b"PAR1"
    return sink.getvalue()


def _array(values: list[Any], random: Random) -> Any:
    def text(value: Any) -> Any:
        return (
            value.encode("utf-8", "surrogatepass")
            if isinstance(value, str)
            else None
            if value is None
            else b"%r" % value
        )

    kind = random.choice([pyarrow.string(), pyarrow.string(), pyarrow.large_string(), pyarrow.binary()])
    made = pyarrow.array([text(value) for value in values], pyarrow.large_binary())
    # A cast that is not checked, so that the column can hold what is not UTF-8.
    return made.cast(kind, safe=False) if random.random() < 0.8 else _odd_array(len(values), random)


def _odd_array(size: int, random: Random) -> Any:
    moment = random.choice([0, -(2**62), 2**62, 2**63 - 1, -(10**15), 10**17])
    made: Callable[[], Any] = random.choice(
        [
            lambda: pyarrow.array([moment] * size, pyarrow.int64()).view(
                pyarrow.timestamp(random.choice(["s", "ms", "ns"]))
            ),
            lambda: pyarrow.array([2**31 - 1] * size, pyarrow.int32()).view(pyarrow.date32()),
            lambda: pyarrow.array([moment] * size, pyarrow.int64()).view(pyarrow.duration("s")),
            lambda: pyarrow.array([moment] * size, pyarrow.int64()).view(pyarrow.time64("us")),
            lambda: pyarrow.array([{"a": [1], "b": {"c": None}}] * size),
            lambda: pyarrow.array([["a", "b"]] * size),
            lambda: pyarrow.array([[("a", 1)]] * size, pyarrow.map_(pyarrow.string(), pyarrow.int8())),
            lambda: pyarrow.nulls(size),
            lambda: pyarrow.array([float("nan")] * size),
            lambda: pyarrow.array([Decimal("1.5")] * size),
            lambda: pyarrow.array([True] * size),
            lambda: pyarrow.array(["same"] * size).dictionary_encode(),
            lambda: pyarrow.array([date.max - timedelta(1)] * size),
            lambda: pyarrow.array([b"\xff" * 16] * size, pyarrow.binary(16)),
            lambda: pyarrow.array(range(size), pyarrow.uint64()),
        ]
    )
    return made()


@cache
def large_parquet(text: int, number: int) -> bytes:
    """A small Parquet file of many rows, which share one long text."""
    one = pyarrow.DictionaryArray.from_arrays(pyarrow.nulls(number, pyarrow.int8()).fill_null(0), ["x" * text])
    sink = io.BytesIO()
    table = pyarrow.table({"nl": one, "cmd": one})
    pyarrow.parquet.write_table(table, sink, compression="zstd", dictionary_pagesize_limit=2**31 - 1)
    return sink.getvalue()
