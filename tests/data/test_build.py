"""CodeAlpacaPy from CodeAlpaca-20k."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from raypeft.data.build import build_codealpacapy, write_splits
from raypeft.data.sources import Item, load_split
from raypeft.errors import UserError
from raypeft.spec.catalogue import DatasetEntry
from raypeft.spec.sections import Subsets


def row(instruction: Any, given: Any = "", output: Any = "x = 1") -> dict[str, Any]:
    return {"instruction": instruction, "input": given, "output": output}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Twenty rows that are kept, one of them blank, among others."""
    rows = [row(f"number {number}", output=f"x = {number}") for number in range(19)]
    rows += [row("blank", output=" \n")]
    rows += [row("with input", "3, 4"), row("prose", output="It is five."), row("null", output=None)]
    rows += [row("null byte", output="x\0"), row("nested", output="(" * 10_000 + ")" * 10_000)]
    path = tmp_path / "code_alpaca.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def test_rows_without_input_whose_output_is_python_are_kept(source: Path) -> None:
    built = build_codealpacapy(source)
    assert (built.rows, built.kept, built.longest) == (25, 20, None)
    assert [item.intent for item in built.blank] == ["blank"]
    # 19 items in the proportions 2192 : 314 : 628
    assert {split: len(items) for split, items in built.splits.items()} == {"train": 13, "validation": 2, "test": 4}
    items = [item for part in built.splits.values() for item in part]
    assert sorted((item.intent, item.code) for item in items) == sorted((f"number {n}", f"x = {n}") for n in range(19))
    assert len({item.id for item in items}) == 19


def test_the_order_of_the_source_does_not_matter(source: Path) -> None:
    before = build_codealpacapy(source).splits
    rows = json.loads(source.read_text())
    random.Random(1).shuffle(rows)
    source.write_text(json.dumps(rows))
    assert build_codealpacapy(source).splits == before
    assert build_codealpacapy(source, seed=43).splits != before


def test_what_is_written_is_read_back(source: Path, tmp_path: Path) -> None:
    splits = build_codealpacapy(source).splits
    write_splits(tmp_path / "out", splits)
    entry = DatasetEntry(title="Own", folder=str(tmp_path / "out"))
    for split, items in splits.items():
        assert load_split({"own": entry}, "own", split, Subsets()) == items
    with pytest.raises(UserError, match=r"has a file train\.jsonl already"):
        write_splits(tmp_path / "out", {"train": [Item("1", "a", "b")]})
    assert load_split({"own": entry}, "own", "train", Subsets()) == splits["train"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"prompt": "a", "completion": "b"}]', "row 1: has no column 'instruction'\nCodeAlpaca-20k has instruction"),
        ("[5]", "row 1: is not a JSON object"),
        ('[{"instruction": "a", "input": "b", "output": "c"}]', "holds no row without input whose output is Python"),
    ],
)
def test_another_file_is_refused(source: Path, content: str, message: str) -> None:
    source.write_text(content)
    with pytest.raises(UserError) as caught:
        build_codealpacapy(source)
    assert message in str(caught.value)


def test_all_bad_rows_of_a_source_are_one_message(tmp_path: Path) -> None:
    source = tmp_path / "source.jsonl"
    rows = [row("fine"), row("half \ud83d"), {"instruction": "a", "input": ""}, 5, row("long", output="x" * 100_001)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows) + "9" * 5000 + "\n")
    with pytest.raises(UserError) as caught:
        build_codealpacapy(source)
    assert str(caught.value) == (
        f"{source}: 5 rows cannot be used\n"
        "line 2: has half of a surrogate pair in the column 'instruction', \\ud83d\n"
        "line 3: has no column 'output'\n"
        "line 4: is not a JSON object\n"
        "line 5: has an output of more than 100,000 characters\n"
        "line 6: holds a whole number with more digits than can be read"
    )


def test_splits_that_cannot_be_written_are_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder, reason in (
        (tmp_path / "file" / "out", "Not a directory"),
        (tmp_path / ("x" * 300), "File name too long"),
    ):
        with pytest.raises(UserError) as caught:
            write_splits(folder, {"train": [Item("1", "a", "b")]})
        assert f": cannot be written: {reason}\nName another with --out." in str(caught.value)


def test_the_real_file_gives_the_published_sizes(shared_data: Path) -> None:
    built = build_codealpacapy(shared_data / "codealpaca_20k" / "all.jsonl")
    assert (built.rows, built.kept) == (20022, 3136)
    assert [item.intent for item in built.blank] == ["Generate 10 random integers between 12 and 25."]
    assert built.longest is not None and built.longest.intent == "Create a program to evaluate a postfix expression."
    assert {split: len(items) for split, items in built.splits.items()} == {
        "train": 2192,
        "validation": 314,
        "test": 628,
    }
    # the same items as another implementation of the rule keeps, in other splits
    published = {
        (row["nl"], row["cmd"])
        for split in built.splits
        for row in map(json.loads, (shared_data / "codealpacapy" / f"{split}.jsonl").open(encoding="utf-8"))
    }
    assert {(item.intent, item.code) for items in built.splits.values() for item in items} == published
