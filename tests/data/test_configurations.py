"""Data sets by configuration and split, as `datasets` finds them in a folder or on the hub."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from pydantic import ValidationError

from raypeft.data.sources import Item, load_split
from raypeft.errors import UserError
from raypeft.spec.catalogue import DatasetEntry
from raypeft.spec.sections import Subsets
from tests.hub.conftest import environment, hub  # noqa: F401 (fixtures)
from tests.hub.server import Hub, files

CARD = """---
configs:
- config_name: full
  data_files:
  - {split: train, path: full/train-*}
  - {split: dev, path: full/dev-*}
- config_name: other
  data_files:
  - {split: train, path: other/*}
---
"""
COLUMNS: dict[str, Any] = {"intent": "text", "code": "code", "id": "key"}
READ = """
import json, sys
from raypeft.data.sources import read_split
from raypeft.hub.study import Need, survey
from raypeft.spec.catalogue import DatasetEntry
need = Need("dataset", "own", "a/own", None)
before = len(survey([need]).cached)
entry = DatasetEntry(title="Own", hub="a/own", configuration="full", columns=json.loads(sys.argv[1]))
found = read_split("own", entry, "train")
print(json.dumps([before, len(survey([need]).cached), found.source, [item.code for item in found.items]]))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two configurations, one in two parts whose texts look like other things."""
    made = tmp_path / "set"
    (made / "full").mkdir(parents=True)
    (made / "other").mkdir()
    (made / "README.md").write_text(CARD)
    for part, codes in enumerate((["007", "2020-01-01"], ["null", None])):
        table = pyarrow.table({"key": [part, part + 10], "text": ["a", "b"], "code": codes})
        pyarrow.parquet.write_table(table, made / "full" / f"train-0000{part}-of-00002.parquet")
    for place in ("full/dev-0.parquet", "other/0.parquet"):
        pyarrow.parquet.write_table(pyarrow.table({"key": [1], "text": ["c"], "code": [place]}), made / place)
    return made


def entry(folder: Path, configuration: str = "full", **further: Any) -> DatasetEntry:
    return DatasetEntry(title="Own", folder=str(folder), configuration=configuration, **{"columns": COLUMNS, **further})


def read(entry: DatasetEntry, split: Any = "train") -> list[Item]:
    return load_split({"own": entry}, "own", split, Subsets())


def test_all_parts_of_a_split_are_read_in_order_and_nothing_is_left_behind(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    before = files(folder)
    assert read(entry(folder)) == [Item("0", "a", "007"), Item("10", "b", "2020-01-01"), Item("1", "a", "null")]
    assert [item.code for item in read(entry(folder, splits={"validation": "dev"}), "validation")] == [
        "full/dev-0.parquet"
    ]
    assert [item.code for item in read(entry(folder, "other"))] == ["other/0.parquet"]
    assert files(folder) == before and not os.path.exists(tmp_path / "cache")


def test_a_file_that_has_changed_is_read_anew(folder: Path) -> None:
    assert len(read(entry(folder, "other"))) == 1
    table = pyarrow.table({"key": [1, 2], "text": ["c", "d"], "code": ["x", "y"]})
    pyarrow.parquet.write_table(table, folder / "other" / "0.parquet")
    assert [item.code for item in read(entry(folder, "other"))] == ["x", "y"]


def test_what_is_not_there_is_named(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def refused(own: DatasetEntry, split: Any = "train") -> str:
        with pytest.raises(UserError) as caught:
            read(own, split)
        return str(caught.value)

    start = f"catalogue.datasets.own: {folder} cannot be read: "
    assert refused(entry(folder, "none")).startswith(start + "BuilderConfig 'none' not found. Available: ['full'")
    assert refused(entry(folder), "test").startswith(start + "Bad split: test. Available splits: ['train', 'dev']")
    assert "row 1 has no column 'ask'\nIts columns are: key, text, code" in refused(
        entry(folder, columns={"intent": "ask", "code": "code"})
    )
    (folder / "other" / "0.parquet").write_bytes(b"PAR1 not")
    assert refused(entry(folder, "other")).startswith(start)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "further", [{"splits": {"test": "dev"}}, {"configuration": "full", "files": {"test": "x.csv"}}]
)
def test_a_configuration_and_files_do_not_go_together(further: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DatasetEntry(title="Own", folder="x", **further)


def test_a_data_set_of_the_hub_is_fetched_whole_and_then_found_without_a_request(
    hub: Hub,  # noqa: F811
    environment: dict[str, str],  # noqa: F811
    folder: Path,
) -> None:
    hub.dataset("a/own", folder)
    command = [sys.executable, "-c", READ, json.dumps(COLUMNS)]
    for offline, before in (({}, 0), ({"HF_HUB_OFFLINE": "1"}, 1)):
        done = subprocess.run(command, env=environment | offline, capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout) == [before, 1, "a/own@main:full/train", ["007", "2020-01-01", "null"]]
