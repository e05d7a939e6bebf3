"""Where the files of a data set are looked for, and what may lie there."""

import csv
import gzip
import io
import json
import os
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from raypeft.data.sources import Item, load_split
from raypeft.errors import UserError
from raypeft.spec.catalogue import DatasetEntry, local_folder
from raypeft.spec.sections import Subsets

ALL = Subsets()


def entry(folder: Path, **further: Any) -> DatasetEntry:
    return DatasetEntry(title="Own", folder=str(folder), **further)


def write(folder: Path, rows: list[dict[str, Any]], split: str = "train") -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / f"{split}.jsonl").write_bytes(text.encode())


def refused(folder: Path, split: Any = "train", **further: Any) -> str:
    with pytest.raises(UserError) as caught:
        load_split({"own": entry(folder, **further)}, "own", split, ALL)
    return str(caught.value)


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """In the format of the file's suffix."""
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif {".csv", ".tsv"} & set(path.suffixes):
        stream = io.StringIO(newline="")
        writer = csv.DictWriter(stream, rows[0], delimiter="\t" if ".tsv" in path.suffixes else ",")
        writer.writeheader()
        writer.writerows(rows)
        text = stream.getvalue().encode()
        path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        text = "".join(json.dumps(row) + "\n" for row in rows).encode()
        path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)


def test_a_missing_folder_or_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "catalogue.datasets.own"
    assert refused(tmp_path / "absent").startswith(f"{key}.folder: folder {tmp_path}/absent does not exist\nCorrect it")
    assert refused(tmp_path) == f"{key}.files.train: {tmp_path} has no file train.*\nIt has: nothing"
    named = refused(tmp_path, files={"train": "t.csv"})
    assert named == f"{key}.files.train: {tmp_path} has no file t.csv\nIt has: nothing"
    (tmp_path / "train.jsonl").write_bytes(b'{"nl": "\xff"}')
    assert refused(tmp_path) == f"{tmp_path}/train.jsonl, line 1: is not UTF-8"
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("NOWHERE", raising=False)
    assert refused(Path("${NOWHERE}/${EMPTY}")) == (
        f"{key}.folder: environment variable NOWHERE, EMPTY is not set\nexport NOWHERE=…\nexport EMPTY=…"
    )


def test_what_is_no_file_is_named_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "train.jsonl")
    assert refused(tmp_path) == f"{tmp_path}/train.jsonl: is a pipe, not a file"
    (tmp_path / "valid.csv").symlink_to("nowhere.csv")
    assert refused(tmp_path, "validation") == (
        f"catalogue.datasets.own.files.validation: {tmp_path}/valid.csv cannot be read: No such file or directory"
    )
    (tmp_path / "t").mkdir()
    assert refused(tmp_path, "test", files={"test": "t"}) == (
        f"{tmp_path}/t: is in no format that is read\n"
        "Formats: JSON lines (.jsonl, .ndjson), JSON (.json), CSV (.csv, .tsv), Parquet (.parquet); texts also with .gz"
    )


def test_a_folder_stands_in_for_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_hub = DatasetEntry(title="Own", hub="a/b", files={"train": "own-train.csv"})
    monkeypatch.delenv("RAYPEFT_DATA", raising=False)
    assert local_folder("own", on_hub) is None
    monkeypatch.setenv("RAYPEFT_DATA", str(tmp_path))
    assert local_folder("own", on_hub) is None
    (tmp_path / "own").mkdir()
    assert local_folder("own", on_hub) == tmp_path / "own"
    write(tmp_path / "own", [{"nl": "a", "cmd": "b"}])
    assert load_split({"own": on_hub}, "own", "train", ALL) == [Item("1", "a", "b")]
    # the hub's own file, where the folder holds it
    (tmp_path / "own" / "own-train.csv").write_text("nl,cmd\nc,d\n")
    assert load_split({"own": on_hub}, "own", "train", ALL) == [Item("1", "c", "d")]


@pytest.mark.parametrize(
    "name",
    [
        *("validation.json", "valid.csv", "dev.jsonl.gz", "val.parquet", "validation.ndjson", "validation.tsv"),
        *("dev.ndjson.gz", "val.tsv.gz"),
    ],
)
def test_a_file_is_found_by_the_usual_names(tmp_path: Path, name: str) -> None:
    write_rows(tmp_path / name, [{"nl": "a", "cmd": "b"}])
    assert load_split({"own": entry(tmp_path)}, "own", "validation", ALL) == [Item("1", "a", "b")]


def test_folders_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWN_DATA", str(tmp_path))
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub", [{"nl": "a", "cmd": "b"}])
    assert load_split({"own": entry(Path("${OWN_DATA}/sub"))}, "own", "train", ALL) == [Item("1", "a", "b")]
