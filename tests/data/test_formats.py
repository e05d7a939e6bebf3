"""Rows of files in every format, and files that are not what their suffix says."""

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from raypeft.data.formats import read_rows
from raypeft.errors import UserError

Rows = list[tuple[str, Mapping[str, Any]]]
ROWS = [{"nl": 'line\nbreak, "quoted"', "cmd": "a\u2028b"}, {"nl": "ä", "cmd": ""}]
CSV = 'nl,cmd\n"line\nbreak, ""quoted""",a\u2028b\nä,\n'


def rows_of(path: Path, *columns: str) -> Rows:
    return list(read_rows(path, lambda place, row: (place, row), columns))


def test_every_format_gives_the_same_rows(tmp_path: Path) -> None:
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
    texts = {
        "a.jsonl": lines,
        "a.ndjson": lines,
        "lines.json": lines,
        "a.json": json.dumps(ROWS, indent=2),
        "a.csv": CSV,
        "bom.csv": "\ufeff" + CSV.replace("\nä", "\r\nä"),
        "a.tsv": CSV.replace("nl,cmd", "nl\tcmd").replace('",a', '"\ta').replace("ä,", "ä\t"),
    }
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text.encode())
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    found = {path.name: [row for _, row in rows_of(path)] for path in tmp_path.iterdir()}
    assert len(found) == 15
    assert all(rows == ROWS for rows in found.values()), found


def test_rows_are_known_by_their_place(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('\n{"a": 1}\n\n{"a": 2}\n')
    assert rows_of(tmp_path / "a.jsonl") == [("line 2", {"a": 1}), ("line 4", {"a": 2})]
    (tmp_path / "a.csv").write_text('a\n"1\n1"\n2\n')
    assert rows_of(tmp_path / "a.csv") == [("row 1", {"a": "1\n1"}), ("row 2", {"a": "2"})]


def test_null_is_null_in_parquet_and_in_short_rows_of_csv(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"nl": ["a"], "cmd": [None]}), tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text("nl,cmd\na\n")
    for path in tmp_path.iterdir():
        assert [row for _, row in rows_of(path)] == [{"nl": "a", "cmd": None}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xlsx", b"PK", "a.xlsx: is in no format that is read\nFormats: JSON lines (.jsonl"),
        ("a.json", b"[1, 2", "a.json: is not JSON: Expecting"),
        ("a.csv", b"a,b\n1,2,3\n", "a.csv, row 1: has more values than there are columns"),
        ("a.csv", b'a,b\n1,"2', "a.csv, line 2: is not CSV: unexpected end of data"),
        ("a.parquet", b"PAR1 not", "a.parquet: is not Parquet: "),
        ("a.jsonl.gz", b"not compressed", "a.jsonl.gz cannot be read: Not a gzipped file"),
        ("a.jsonl.gz", gzip.compress(b"{}" * 500, mtime=0)[:-9], "a.jsonl.gz cannot be read: "),
        ("a.csv", b"\xff", "a.csv, line 1: is not UTF-8\nSave it as UTF-8."),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        rows_of(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path}/{message}")
