"""What is found wrong in a data set, counted by hand here."""

import json
from pathlib import Path
from typing import Any

import pytest

from raypeft.data.check import Leak, check
from raypeft.errors import UserError
from raypeft.spec.catalogue import DatasetEntry, shipped_catalogue


def write(folder: Path, split: str, rows: list[dict[str, Any]]) -> None:
    folder.mkdir(exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / f"{split}.jsonl").write_text(text, encoding="utf-8")


def row(identifier: str, intent: str | None, code: str | None) -> dict[str, Any]:
    return {"id": identifier, "nl": intent, "cmd": code}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    train = [row("1-1", "add", "a + b"), row("1-2", "add", "a + b"), row("2-1", "add", "sum(x)"), row("2-2", None, "c")]
    write(folder, "train", [*train, row("3-1", " ", "x"), row("3-2", "x", "")])
    write(folder, "validation", [row("4-1", "new", "y"), row("4-2", "other", "z")])
    write(folder, "test", [row("2-9", "add ", "other"), row("5-1", " add", "a + b\n"), row("6-1", "x", None)])
    return folder


def test_rows_by_themselves(folder: Path) -> None:
    entry = DatasetEntry(title="Own", folder=str(folder), expected_items={"train": 6})
    train, validation, test = check({"own": entry}, "own").splits
    assert (train.items, train.expected, validation.expected) == (5, 6, None)
    assert (train.incomplete, train.empty, train.repeated) == (["line 4"], ["3-1", "3-2"], ["1-2"])
    assert (validation.incomplete, validation.empty, validation.repeated) == ([], [], [])
    assert (test.items, test.incomplete) == (2, ["line 3"])
    assert train.source == [str(folder / "train.jsonl")]


def test_ids_that_stand_twice_are_named(folder: Path, tmp_path: Path) -> None:
    write(folder, "train", [row("a", "1", "x"), row("b", "2", "x"), row("a", "3", "x"), row("a", "4", "x")])
    write(tmp_path / "second", "train", [row("b", "1", "x"), row("c", "2", "x"), row("c", "3", "x")])
    entries = {
        "own": DatasetEntry(title="Own", folder=str(folder)),
        "second": DatasetEntry(title="Second", folder=str(tmp_path / "second")),
        "both": DatasetEntry(title="Both", join=["own", "second"]),
    }
    assert check(entries, "own", ["train"]).splits[0].repeated_ids == ["a"]
    # the b of one is not the b of the other
    assert check(entries, "both", ["train"]).splits[0].repeated_ids == ["a", "c"]


def test_what_splits_share(folder: Path) -> None:
    entry = DatasetEntry(title="Own", folder=str(folder), origin=r"^\d+(?=-)")
    assert check({"own": entry}, "own").leaks == [
        Leak("pair", "train", "test", 1, ["5-1"]),
        Leak("intent", "train", "test", 1, ["2-9", "5-1"]),
        Leak("origin", "train", "test", 1, ["2-9"]),
    ]


def test_only_the_splits_that_are_asked_for(folder: Path) -> None:
    entry = DatasetEntry(title="Own", folder=str(folder))
    found = check({"own": entry}, "own", ["validation"])
    assert [split.split for split in found.splits] == ["validation"] and found.leaks == []


def test_parts_of_a_joint_data_set_leak_into_each_other(folder: Path, tmp_path: Path) -> None:
    for split in ("train", "validation", "test"):
        write(tmp_path / "second", split, [row(f"1-{split}", "new", split), row("n", None, "x")])
    entries = {
        "own": DatasetEntry(title="Own", folder=str(folder), origin=r"^\d+(?=-)"),
        "second": DatasetEntry(title="Second", folder=str(tmp_path / "second")),
        "both": DatasetEntry(title="Both", join=["own", "second"]),
    }
    found = check(entries, "both")
    assert [split.items for split in found.splits] == [6, 3, 3]
    assert found.splits[0].incomplete == ["own, line 4", "second, line 2"]
    # the second has no pattern for origins, so that its 1-test has none
    assert Leak("intent", "train", "validation", 1, ["4-1", "1-validation"]) in found.leaks
    assert Leak("origin", "train", "test", 1, ["2-9"]) in found.leaks


def test_items_over_the_limits_are_named_by_what_is_cut(folder: Path) -> None:
    entry = DatasetEntry(title="Own", folder=str(folder))
    cut = {"1-1": ("target",), "3-2": ("prompt", "target"), "4-2": ("prompt",)}
    train, validation, _ = check({"own": entry}, "own", shortened=lambda item: cut.get(item.id, ())).splits
    assert train.shortened == {"prompt": ["3-2"], "target": ["1-1", "3-2"]}
    assert validation.shortened == {"prompt": ["4-2"], "target": []}
    assert check({"own": entry}, "own").splits[0].shortened is None


def test_a_missing_split_is_a_mistake(folder: Path) -> None:
    (folder / "test.jsonl").unlink()
    with pytest.raises(UserError, match="has no file test"):
        check({"own": DatasetEntry(title="Own", folder=str(folder))}, "own")


def test_the_papers_data(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYPEFT_DATA", str(shared_data))
    conala = check(shipped_catalogue().datasets, "conala")
    assert [(split.items, split.expected) for split in conala.splits] == [(2135, 2135), (201, 201), (543, 543)]
    assert [len(split.repeated) for split in conala.splits] == [14, 1, 3]
    assert [split.sha256[:16] for split in conala.splits] == [
        "03b15aeb079e43b5",
        "771e501002529d76",
        "cc4eea8609a26336",
    ]
    assert all(split.incomplete == split.empty == [] for split in conala.splits)
    shared = {(leak.kind, leak.first, leak.second): leak.shared for leak in conala.leaks}
    assert shared == {("intent", "validation", "test"): 5, ("origin", "validation", "test"): 27}
    codealpacapy = check(shipped_catalogue().datasets, "codealpacapy")
    assert [(split.items, split.expected) for split in codealpacapy.splits] == [(2192, 2192), (314, 314), (628, 628)]
    assert codealpacapy.leaks == []
