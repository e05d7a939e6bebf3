"""Rows that cannot be used, and files that are no files: one message each, in no time and memory."""

import csv
import gzip
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from raypeft.data import contents, formats, rows
from raypeft.data.items import Item, read_items
from raypeft.errors import UserError

COLUMNS: dict[str, str | list[str]] = {"intent": "nl", "code": "cmd", "id": ["id", "question_id"]}
HALF = "has half of a surrogate pair in the column"
NUL = "holds a NUL byte, so it is no text in UTF-8\nSave it as UTF-8."
DIGITS = "holds a whole number with more digits than can be read"
DEEP = "is nested more deeply than can be read"
BAD_ID = "the id in the column 'id' must be a text or a number"
GOOD = b'{"nl": "a", "cmd": "b"}\n'


def items(path: Path) -> list[Item]:
    return read_items(path, COLUMNS, "columns")[0]


def refused(path: Path, content: bytes | None = None) -> str:
    """What a user is told, without the folder."""
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        items(path)
    return str(caught.value).replace(f"{path.parent}/", "")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", GOOD + b'{"nl": "a \\ud83d", "cmd": "b"}', f"line 2: {HALF} 'nl', \\ud83d"),
        ("a.jsonl", GOOD + b'{"nl": "a", "cmd": "b", "id": "\\udc80"}', f"line 2: {HALF} 'id', \\udc80"),
        ("a.json", b'[{"nl": "a", "cmd": "\\udfff"}]', f"row 1: {HALF} 'cmd', \\udfff"),
        ("a.jsonl", GOOD + b'{"nl": "\xe4", "cmd": "b"}', "line 2: is not UTF-8"),
        ("a.json", b'[{"nl": "a",\r\n "cmd": "\xe4"}]', "line 2: is not UTF-8"),
        ("a.csv", b"nl,cmd\na,b\na,\xe4\n", "row 2: is not UTF-8"),
        ("a.tsv", b"nl\tcmd\xe4\na\tb\n", "line 1: is not UTF-8\nSave it as UTF-8."),
        ("a.jsonl", '{"nl": "a", "cmd": "b"}'.encode("utf-16"), f"line 1: {NUL}"),
        ("a.csv", b"nl,cmd\ra,b\r\0\0\0\0", f"line 3: {NUL}"),
        ("a.jsonl", GOOD + b'{"id": ' + b"9" * 5000 + b"}", f"line 2: {DIGITS}"),
        ("a.json", b"[" + GOOD + b", " + b"9" * 5000 + b"]", f"row 2: {DIGITS}"),
        ("a.jsonl", b'{"x": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", f"line 1: {DEEP}"),
        ("a.json", b"[" * 200_000 + b"]" * 200_000, f"row 1: {DEEP}"),
        ("a.jsonl", b'{"nl": "a", "nl": "b", "cmd": "c"}', "line 1: has the column 'nl' twice"),
        ("a.json", b'[{"nl": "a", "nl": "b", "cmd": "c"}]', "row 1: has the column 'nl' twice"),
        ("a.jsonl", GOOD + b'{"nl": "a", "cmd": "b", "id": true}', f"line 2: {BAD_ID}"),
        ("a.jsonl", GOOD + b'{"nl": "a", "cmd": "b", "id": {}}', f"line 2: {BAD_ID}"),
        ("a.jsonl", GOOD + b'{"nl": "a"}', "line 2: has no column 'cmd'"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    assert refused(tmp_path / name, content) == f"{name}, {message}"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b'\n\nnl,cmd\n\n"a\na",b\n\n"c\n\n\n', "a.csv, line 8: is not CSV: unexpected end of data"),
        ("a.csv", b"nl,cmd,nl\na,b,c\n", "a.csv: has the column 'nl' twice"),
        ("a.json", b'[{"nl": "a", "cmd": "b"}] x', "a.json: is not JSON: Extra data: line 1 column 27 (char 26)"),
        ("a.json", b'[{"nl": "a", "cmd": "b"},]', "a.json: is not JSON: Expecting value: line 1 column 26 (char 25)"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    assert refused(tmp_path / name, content) == message


def test_all_that_is_wrong_in_a_file_is_one_message(tmp_path: Path) -> None:
    wrong = [GOOD, b"{\n", b'{"nl": 5, "cmd": "b"}\n', b'{"nl": "a"}\n', b"\xff\n", b"[]\n"]
    assert refused(tmp_path / "a.jsonl", b"".join(wrong)) == (
        "a.jsonl: 5 rows cannot be used\n"
        "line 2: is not JSON: Expecting property name enclosed in double quotes at column 2\n"
        "line 3: intent and code must be texts\n"
        "line 4: has no column 'cmd'\n"
        "line 5: is not UTF-8\n"
        "line 6: is not a JSON object"
    )
    many = refused(tmp_path / "a.jsonl", GOOD + b"{" + b"[" * 3000 + b"\n" * 1 + b"5\n" * 900).splitlines()
    assert (many[0], len(many), many[-1]) == ("a.jsonl: 901 rows cannot be used", 10, "and 893 more")
    assert len("\n".join(many)) < 1000
    assert refused(tmp_path / "a.jsonl", b"5\n" * 5000).startswith("a.jsonl: at least 1,000 rows cannot be used\n")


def test_what_a_message_quotes_is_short_and_can_be_shown(tmp_path: Path) -> None:
    content = json.dumps({"\x1b[31m\udcff" + "x" * 1000: 1, **{str(number): 1 for number in range(100)}})
    message = refused(tmp_path / "a.jsonl", content.encode())
    assert message.startswith("columns: a.jsonl, line 1 has no column 'nl'\nIts columns are: \\x1b[31m\\udcffxx")
    assert message.endswith("…, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18 and 81 more")
    assert len(message) < 300 and message.replace("\n", "").isprintable()


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.csv", "a.parquet"])
@pytest.mark.parametrize(
    ("lay", "message"),
    [
        (os.mkfifo, "is a pipe, not a file"),
        (os.mkdir, "is a folder, not a file"),
        (lambda path: path.symlink_to("/dev/zero"), "is a device, not a file"),
    ],
)
def test_only_regular_files_are_read(tmp_path: Path, name: str, lay: Callable[[Path], None], message: str) -> None:
    lay(tmp_path / name)
    assert refused(tmp_path / name) == f"{name}: {message}"


def test_no_more_is_read_than_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "LARGEST", 3 * contents.MIB)
    most = "holds more than 3 MiB, the most that is read of a data file\nTake a part of it."
    bomb = gzip.compress(b"\0" * 200 * contents.MIB, 1)
    assert refused(tmp_path / "a.jsonl.gz", bomb) == f"a.jsonl.gz: {most}"
    with (tmp_path / "a.csv").open("wb") as stream:
        stream.truncate(2**40)  # a file with a hole
    assert refused(tmp_path / "a.csv") == f"a.csv: {most}"


def test_no_longer_lines_arrays_and_files_are_parsed_than_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "LONGEST_LINE", contents.MIB)
    monkeypatch.setattr(formats, "LARGEST_ARRAY", contents.MIB)
    monkeypatch.setattr(formats, "MOST_ROWS", 1000)
    monkeypatch.setattr(rows, "MOST_ROWS", 1000)
    long = b'{"x": "' + b"a" * contents.MIB + b'"}'
    assert (
        refused(tmp_path / "a.jsonl", GOOD + long)
        == "a.jsonl, line 2: is longer than 1 MiB, the most that is read of a line"
    )
    assert (
        refused(tmp_path / "a.csv", b"," * 2 * contents.MIB)
        == "a.csv, line 1: is longer than 1 MiB, the most that is read of a line"
    )
    assert refused(tmp_path / "a.json", b"[" + long + b"]") == (
        "a.json: holds more than 1 MiB, the most that is read of a JSON array\nWrite it as JSON lines (.jsonl)."
    )
    most = "has more than 1,000 rows, the most that are read of a data file\nTake a part of it."
    for end in (b"\n", b"\r", b"\r\n"):
        assert refused(tmp_path / "a.jsonl", end * 1001) == f"a.jsonl: {most}"
    assert refused(tmp_path / "a.json", b"[" + GOOD.strip() + (b"," + GOOD.strip()) * 1000 + b"]") == f"a.json: {most}"


def test_a_field_of_csv_can_be_long(tmp_path: Path) -> None:
    with (tmp_path / "a.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["nl", "cmd"], ["x" * 300_000, "y\n" * 100_000]])
    assert items(tmp_path / "a.csv") == [Item("1", "x" * 300_000, "y\n" * 100_000)]


def test_lines_end_as_they_like(tmp_path: Path) -> None:
    expected = [Item("1", "a", "b"), Item("2", "c", "d")]
    for end in ("\n", "\r\n", "\r"):
        (tmp_path / "a.jsonl").write_bytes(f'{{"nl": "a", "cmd": "b"}}{end}{{"nl": "c", "cmd": "d"}}{end}'.encode())
        (tmp_path / "a.csv").write_bytes(f"nl,cmd{end}a,b{end}c,d{end}".encode())
        assert items(tmp_path / "a.jsonl") == items(tmp_path / "a.csv") == expected


@pytest.mark.parametrize("null", ["null", "NaN", '""'])
def test_an_item_whose_id_is_null_is_known_by_its_line(tmp_path: Path, null: str) -> None:
    rows = f'{{"nl": "a", "cmd": "b", "id": "x"}}\n{{"nl": "c", "cmd": "d", "id": {null}}}\n'
    (tmp_path / "a.jsonl").write_text(rows)
    assert [item.id for item in items(tmp_path / "a.jsonl")] == ["x", "2"]


def test_an_id_is_null_in_every_format(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,nl,cmd\nx,a,b\n,c,d\n")
    pyarrow.parquet.write_table(
        pyarrow.table({"id": [5, None], "nl": ["a", "c"], "cmd": ["b", "d"]}), tmp_path / "a.parquet"
    )
    assert [item.id for item in items(tmp_path / "a.csv")] == ["x", "2"]
    assert [item.id for item in items(tmp_path / "a.parquet")] == ["5", "2"]


def parquet(path: Path, names: list[str], *columns: Any, **how: Any) -> Path:
    pyarrow.parquet.write_table(pyarrow.Table.from_arrays(list(columns), names), path, **how)
    return path


def test_only_the_columns_of_parquet_that_are_used_need_be_readable(tmp_path: Path) -> None:
    far = pyarrow.array([2**62] * 2).view(pyarrow.timestamp("us"))
    texts = pyarrow.array([b"a", b"\xff"], pyarrow.binary()).cast(pyarrow.string(), safe=False)
    right = pyarrow.array(["a", "b"])
    made = parquet(tmp_path / "a.parquet", ["nl", "cmd", "when", "odd", "odd"], right, right, far, texts, far)
    assert items(made) == [Item("1", "a", "a"), Item("2", "b", "b")]
    assert refused(parquet(tmp_path / "a.parquet", ["nl", "cmd"], right, texts)) == (
        "a.parquet, row 2: has a text in the column 'cmd' that is not UTF-8"
    )
    message = refused(parquet(tmp_path / "a.parquet", ["nl", "cmd", "id"], right, right, far))
    assert message.startswith(
        "a.parquet: 2 rows cannot be used\nrow 1: has a value in the column 'id' that cannot be read: "
    )
    nested = pyarrow.array([{"a": 1}, {"a": 2}])
    assert refused(parquet(tmp_path / "a.parquet", ["nl", "cmd"], right, nested)) == (
        "a.parquet: 2 rows cannot be used\nrow 1: intent and code must be texts\nrow 2: intent and code must be texts"
    )
    assert refused(parquet(tmp_path / "a.parquet", ["nl", "cmd", "nl"], right, right, right)) == (
        "a.parquet: has the column 'nl' twice"
    )


def test_a_small_parquet_file_of_much_text_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 10_000, pyarrow.int8()), ["x" * 10**6])
    made = parquet(tmp_path / "a.parquet", ["nl", "cmd"], one, one, compression="zstd")
    assert made.stat().st_size < 10_000
    most = "a.parquet: holds more than 512 MiB, the most that is read of a data file\nTake a part of it."
    assert refused(made) == most
    monkeypatch.setattr("raypeft.data.parquet.LARGEST", 10**6)
    assert refused(made) == most
    monkeypatch.setattr("raypeft.data.parquet.MOST_ROWS", 9_999)
    most = f"has more than {rows.MOST_ROWS:,} rows, the most that are read of a data file\nTake a part of it."
    assert refused(made) == f"a.parquet: {most}"


def test_damaged_parquet_is_refused(tmp_path: Path) -> None:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"nl": ["a"] * 9, "cmd": ["b"] * 9}), sink)
    content = sink.getvalue()
    for end in (0, 3, 4, 20, len(content) - 8, len(content) - 1):
        assert refused(tmp_path / "a.parquet", content[:end]).startswith("a.parquet: is not Parquet: ")
