"""Reading data sets: columns, null rows, odd characters, subsets, hashes."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from raypeft.data.sources import SPLITS, Item, content_hash, load_split, subset
from raypeft.errors import UserError
from raypeft.spec.catalogue import DatasetEntry, shipped_catalogue
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


def test_all_null_rows_of_the_test_split_are_named(tmp_path: Path) -> None:
    write(tmp_path, [{"nl": "a", "cmd": "b"}, *[{"nl": "c", "cmd": None}] * 10], "test")
    assert refused(tmp_path, "test") == (
        f"{tmp_path}/test.jsonl, line 2, line 3, line 4, line 5, line 6, line 7, line 8, line 9 and 2 more: "
        "has no intent or no code, and a test item needs both"
    )


def test_a_split_without_a_usable_row_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [{"nl": None, "cmd": "b"}])
    assert refused(tmp_path).endswith("train.jsonl holds no row with both intent and code")


def test_of_several_names_of_a_column_the_first_that_is_there_counts(tmp_path: Path) -> None:
    columns = {"intent": ["ask", "nl"], "code": "cmd", "id": ["key", "id"]}
    write(tmp_path, [{"nl": "a", "cmd": "b", "id": 5}, {"ask": "c", "nl": "x", "cmd": "d", "key": "k"}])
    items = load_split({"own": entry(tmp_path, columns=columns)}, "own", "train", ALL)
    assert items == [Item("5", "a", "b"), Item("k", "c", "d")]
    write(tmp_path, [{"nl": "a", "cmd": "b"}])
    assert load_split({"own": entry(tmp_path, columns=columns)}, "own", "train", ALL) == [Item("1", "a", "b")]


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


def test_the_hash_is_of_the_content_in_order() -> None:
    items = [Item("1", "add ä", "a + b"), Item("2", "x", "y\n")]
    text = '{"id": "1", "nl": "add ä", "cmd": "a + b"}\n{"id": "2", "nl": "x", "cmd": "y\\n"}\n'
    expected = hashlib.sha256(text.encode()).hexdigest()
    assert content_hash(items) == expected
    assert content_hash(items[::-1]) != expected
    assert content_hash([Item("1", "add ä", "a + c"), items[1]]) != expected
    assert content_hash([Item("1", 'a", "b', "c")]) != content_hash([Item("1", "a", 'b", "c')])


def test_the_embedded_data_read() -> None:
    known = shipped_catalogue().datasets
    sizes = {split: len(load_split(known, "snippets", split, ALL)) for split in SPLITS}
    folder = Path(__file__).parents[2] / "raypeft" / "embedded" / "snippets"
    assert sizes == {split: (folder / f"{split}.jsonl").read_bytes().count(b"\n") for split in sizes}
    assert min(sizes.values()) > 90


@pytest.mark.parametrize(
    ("name", "start"),
    [("conala", ("03b15aeb", "771e5010", "cc4eea86")), ("codealpacapy", ("69bab886", "e89e728a", "3aed3ab2"))],
)
def test_the_public_data_sets_read(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch, name: str, start: tuple[str, ...]
) -> None:
    monkeypatch.setenv("RAYPEFT_DATA", str(shared_data))
    known = shipped_catalogue().datasets
    if name == "codealpacapy":
        known = {name: known[name].model_copy(update={"columns": {"intent": "nl", "code": "cmd", "id": "id"}})}
    splits = {split: load_split(known, name, split, ALL) for split in SPLITS}
    assert {split: len(items) for split, items in splits.items()} == known[name].expected_items
    for split, beginning in zip(SPLITS, start, strict=True):
        file = (shared_data / name / f"{split}.jsonl").read_bytes()
        assert content_hash(splits[split]) == hashlib.sha256(file).hexdigest()
        assert content_hash(splits[split]).startswith(beginning)
