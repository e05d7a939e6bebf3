"""Reading data sets: columns, null rows, odd characters, subsets, hashes."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from raypeft.data.sources import SPLITS, Item, content_hash, load_split, subset
from raypeft.errors import UserError
from raypeft.spec.catalogue import DatasetEntry, shipped_catalogue
from raypeft.spec.study import Subsets

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


def test_columns_and_files_are_of_the_users_choice(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    text = '{"ask": "add", "answer": "a + b", "nl": "no", "cmd": "no", "key": 7}\n'
    (tmp_path / "part" / "t.jsonl").write_text(text)
    own = entry(
        tmp_path,
        columns={"intent": "ask", "code": "answer", "id": "key"},
        files={"train": "part/t.jsonl", "validation": "v", "test": "s"},
    )
    assert load_split({"own": own}, "own", "train", ALL) == [Item("7", "add", "a + b")]


def test_without_a_column_of_ids_an_item_is_known_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text(
        '{"nl": null, "cmd": "x"}\n\n{"nl": "a", "cmd": "b"}\n{"nl": "c", "cmd": "d"}'
    )
    assert load_split({"own": entry(tmp_path)}, "own", "train", ALL) == [Item("3", "a", "b"), Item("4", "c", "d")]


@pytest.mark.parametrize("split", ["train", "validation"])
def test_null_rows_are_dropped_from_training_and_validation(tmp_path: Path, split: Any) -> None:
    rows = [{"nl": "a", "cmd": None}, {"nl": None, "cmd": "b"}, {"nl": "c", "cmd": "d"}, {"nl": "", "cmd": ""}]
    write(tmp_path, rows, split)
    assert load_split({"own": entry(tmp_path)}, "own", split, ALL) == [Item("3", "c", "d"), Item("4", "", "")]


def test_a_null_row_of_the_test_split_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [{"nl": "a", "cmd": "b"}, {"nl": "c", "cmd": None}], "test")
    assert refused(tmp_path, "test") == (
        f"{tmp_path}/test.jsonl, line 2: has no intent or no code, and a test item needs both"
    )


def test_line_separators_inside_texts_end_no_line(tmp_path: Path) -> None:
    texts = ["a\u2028b", "c\u2029d", "e\x85f", "g\x0bh\x0ci\x1cj", "k\r\nl\n"]
    write(tmp_path, [{"nl": text, "cmd": text} for text in texts])
    assert [item.code for item in load_split({"own": entry(tmp_path)}, "own", "train", ALL)] == texts


def test_windows_files_read_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_bytes(b'\xef\xbb\xbf{"nl": "a", "cmd": "b"}\r\n{"nl": "c", "cmd": "d"}\r\n')
    assert load_split({"own": entry(tmp_path)}, "own", "train", ALL) == [Item("1", "a", "b"), Item("2", "c", "d")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{'nl': 1}", "line 2: is not JSON: Expecting property name"),
        ('{"nl": "a"', "line 2: is not JSON: Expecting ',' delimiter"),
        ('["a", "b"]', "line 2: is not a JSON object"),
        ('{"nl": "a", "cmd": 5}', "line 2: intent and code must be texts"),
        ('{"nl": ["a"], "cmd": "b"}', "line 2: intent and code must be texts"),
        ('{"nl": "a", "cmd": NaN}', "line 2: intent and code must be texts"),
    ],
)
def test_a_bad_line_is_named_by_its_number(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "train.jsonl").write_text('{"nl": "a", "cmd": "b"}\n' + line + "\n")
    assert refused(tmp_path).startswith(f"{tmp_path}/train.jsonl, {message}")


def test_a_missing_column_is_named_with_those_there_are(tmp_path: Path) -> None:
    write(tmp_path, [{"nl": "a", "code": "b"}])
    assert refused(tmp_path) == (
        f"catalogue.datasets.own.columns: {tmp_path}/train.jsonl, line 1 has no column 'cmd'\nIts columns are: nl, code"
    )
    assert "has no column 'key'" in refused(tmp_path, columns={"intent": "nl", "code": "code", "id": "key"})


def test_a_missing_folder_or_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "catalogue.datasets.own"
    assert refused(tmp_path / "absent").startswith(f"{key}.folder: folder {tmp_path}/absent does not exist\nCorrect it")
    assert refused(tmp_path) == f"{key}.files.train: {tmp_path}/train.jsonl cannot be read: No such file or directory"
    (tmp_path / "train.jsonl").write_bytes(b'{"nl": "\xff"}')
    assert refused(tmp_path).startswith(f"{key}.files.train: {tmp_path}/train.jsonl cannot be read: 'utf-8' codec")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("NOWHERE", raising=False)
    assert refused(Path("${NOWHERE}/${EMPTY}")) == (
        f"{key}.folder: environment variable NOWHERE, EMPTY is not set\nexport NOWHERE=…\nexport EMPTY=…"
    )


def test_a_split_without_a_usable_row_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [{"nl": None, "cmd": "b"}])
    assert refused(tmp_path).endswith("train.jsonl holds no row with both intent and code")


def test_a_data_set_on_the_hub_is_to_be_downloaded() -> None:
    with pytest.raises(UserError, match=r"catalogue\.datasets\.own: is on the hub \(a/b\)"):
        load_split({"own": DatasetEntry(title="Own", hub="a/b")}, "own", "test", ALL)


def test_folders_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWN_DATA", str(tmp_path))
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub", [{"nl": "a", "cmd": "b"}])
    assert load_split({"own": entry(Path("${OWN_DATA}/sub"))}, "own", "train", ALL) == [Item("1", "a", "b")]


def test_subsets_are_seeded_ordered_and_the_same_everywhere() -> None:
    assert subset(range(20), 6, "42:train") == subset(list(range(20)), 6, "42:train") == [1, 2, 8, 12, 14, 17]
    assert subset(range(20), 6, "43:train") == [5, 8, 10, 11, 16, 18]
    assert subset("abc", 3, "42:train") == subset("abc", 9, "42:train") == subset("abc", None, "1") == ["a", "b", "c"]


def test_the_studys_subset_is_taken_of_each_split(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write(tmp_path, [{"nl": str(number), "cmd": "x"} for number in range(20)], split)
    chosen = load_split({"own": entry(tmp_path)}, "own", "train", Subsets(train=6, seed=42))
    assert [int(item.intent) for item in chosen] == [1, 2, 8, 12, 14, 17]
    assert len(load_split({"own": entry(tmp_path)}, "own", "test", Subsets(train=6, seed=42))) == 20


def test_a_joint_data_set_is_all_that_its_parts_give_shuffled(tmp_path: Path) -> None:
    known = {"both": DatasetEntry(title="Both", join=["a", "b"])}
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for split in ("train", "validation"):
            write(tmp_path / name, [{"nl": f"{name}{number}", "cmd": split} for number in range(20)], split)
        known[name] = entry(tmp_path / name)
    subsets = Subsets(train=6, seed=42)
    joint = load_split(known, "both", "train", subsets)
    parts = [item for name in ("a", "b") for item in load_split(known, name, "train", subsets)]
    assert len(parts) == 12 and sorted(joint, key=parts.index) == parts
    # not one part after the other
    assert {item.intent[0] for item in joint[:6]} == {"a", "b"}
    assert load_split(known, "both", "train", subsets) == joint
    assert load_split(known, "both", "train", Subsets(train=6, seed=43)) != joint
    whole = load_split(known, "both", "validation", subsets)
    assert len(whole) == 40 and {item.code for item in whole} == {"validation"}


def test_the_hash_is_of_intents_and_code_in_order() -> None:
    items = [Item("1", "add ä", "a + b"), Item("2", "x", "y\n")]
    expected = hashlib.sha256('["add ä", "a + b"]\n["x", "y\\n"]\n'.encode()).hexdigest()
    assert content_hash(items) == expected
    assert content_hash([Item("other", item.intent, item.code) for item in items]) == expected
    assert content_hash(items[::-1]) != expected
    assert content_hash([Item("1", "add ä", "a + c"), items[1]]) != expected
    assert content_hash([Item("1", 'a", "b', "c")]) != content_hash([Item("1", "a", 'b", "c')])


def test_the_embedded_data_read() -> None:
    known = shipped_catalogue().datasets
    sizes = {split: len(load_split(known, "snippets", split, ALL)) for split in SPLITS}
    folder = Path(__file__).parents[2] / "raypeft" / "embedded" / "snippets"
    assert sizes == {split: (folder / f"{split}.jsonl").read_bytes().count(b"\n") for split in sizes}
    assert min(sizes.values()) > 90


def test_the_public_data_sets_read(shared_data: Path) -> None:
    known = {"conala": DatasetEntry(title="CoNaLa", folder=str(shared_data / "conala"))}
    splits = {split: load_split(known, "conala", split, ALL) for split in SPLITS}
    assert {split: len(items) for split, items in splits.items()} == {"train": 2135, "validation": 201, "test": 543}
