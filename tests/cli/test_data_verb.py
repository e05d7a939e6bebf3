"""raypeft data: what a user is told of a data set."""

import json
import os
from pathlib import Path

import pytest

from tests.conftest import Call

TRAIN = '{"nl": "add", "cmd": "a + b"}\n{"nl": "add", "cmd": "a + b"}\n{"nl": null, "cmd": "x"}\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "train.jsonl").write_text(TRAIN)
    (folder / "test.csv").write_text("nl,cmd\nadd,a\n" + "add,b\n" * 10)
    return folder


def test_a_folder_is_checked(call: Call, folder: Path) -> None:
    ended = call("data", "check", str(folder))
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines[0] == "train: 2 items"
    assert "  null      1 (without intent or code, dropped): line 3" in lines
    assert "  repeated  1 (intent and code of an earlier item): 2" in lines
    assert "test: 11 items" in lines
    named = "1, 2, 3, 4, 5, 6, 7, 8 and 3 more (--json names all)"
    assert lines[-1] == f"train and test share 1 intent, with 11 items of test: {named}"


def test_a_file_is_checked(call: Call, folder: Path) -> None:
    (folder / "own.json").write_text(
        '[{"ask": "a", "answer": "b", "key": "k"}, {"ask": "", "answer": "b", "key": "l"}]'
    )
    ended = call("data", "check", str(folder / "own.json"), "--intent", "ask", "--code", "answer", "--id", "key")
    assert ended.code == 0
    assert ended.out.splitlines()[0] == "2 items"
    assert ended.out.splitlines()[-1] == "  blank     1 (intent or code is empty): l"


def test_repeated_ids_are_told_and_what_is_in_them_is_only_shown(call: Call, folder: Path) -> None:
    rows = [{"nl": str(number), "cmd": "x", "id": "\x1b[31m" + "x" * 200} for number in range(2)]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = call("data", "check", str(folder / "train.jsonl")).out.splitlines()
    assert lines[-1] == f"  ids       1 (of more than one item): \\x1b[31m{'x' * 55}…"


def test_what_is_no_file_is_not_waited_for(call: Call, folder: Path) -> None:
    os.mkfifo(folder / "validation.csv")
    for arguments in (
        ["check", str(folder)],
        ["check", "mine/validation.csv"],
        ["build", "codealpacapy", "mine/validation.csv"],
    ):
        ended = call("data", *arguments)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.endswith("mine/validation.csv: is a pipe, not a file\n")


def test_all_bad_rows_of_a_file_are_one_message(call: Call, folder: Path) -> None:
    (folder / "train.jsonl").write_bytes(TRAIN.encode() + b'{"nl": "\xff"}\n{"nl": "\\ud83d", "cmd": "x"}\n')
    ended = call("data", "check", "mine")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.splitlines() == [
        "raypeft: mine/train.jsonl: 2 rows cannot be used",
        "line 4: is not UTF-8",
        "line 5: has half of a surrogate pair in the column 'nl', \\ud83d",
    ]


def test_a_plan_names_the_bad_rows_of_its_data(call: Call, folder: Path, tmp_path: Path) -> None:
    (folder / "train.jsonl").write_text(TRAIN + '{"nl": 5, "cmd": "x"}\n[]\n')
    catalogue = "catalogue: {datasets: {mine: {title: Mine, folder: mine}}}\n"
    study = "question: Which?\nmodels: [tiny-decoder]\ndatasets: [mine]\ntechniques: [lora]\n"
    (tmp_path / "own.yaml").write_text(study + catalogue)
    ended = call("study", "own.yaml", "--plan")
    assert ended.code == 0
    assert ended.out.splitlines()[-1] == (
        "Missing    mine: mine/train.jsonl: 2 rows cannot be used; line 4: intent and code must be texts; "
        "line 5: is not a JSON object"
    )


@pytest.mark.parametrize("name", ["", "~nouser/x", "x" * 5000, "x/" * 3000, "\x1b[31m"])
def test_a_name_of_any_kind_is_answered(call: Call, name: str) -> None:
    ended = call("data", "check", name)
    assert ended.code == 2
    assert ended.err.startswith("raypeft: '") and len(ended.err) < 300 and "\x1b" not in ended.err


def test_json_has_everything(call: Call, folder: Path) -> None:
    content = json.loads(call("data", "check", str(folder), "--json").out)
    assert [split["split"] for split in content["splits"]] == ["train", "test"]
    assert content["leaks"] == [
        {
            "kind": "intent",
            "first": "train",
            "second": "test",
            "shared": 1,
            "items": [str(number) for number in range(1, 12)],
        }
    ]


def test_a_tokenizer_tells_what_is_cut(call: Call, folder: Path) -> None:
    (folder / "train.jsonl").write_text(TRAIN + json.dumps({"nl": "add " * 100, "cmd": "x " * 100}) + "\n")
    ended = call("data", "check", str(folder), "--model", "tiny-decoder")
    assert "  prompts   1 (over 64 tokens, cut at the end): 4" in ended.out.splitlines()
    assert "  targets   1 (over 64 tokens, cut at the end): 4" in ended.out.splitlines()


def test_an_embedded_data_set_has_nothing_wrong(call: Call) -> None:
    lines = call("data", "check", "snippets").out.splitlines()
    assert [line for line in lines if not line.startswith("  ")] == [
        "train: 640 items",
        "validation: 96 items",
        "test: 160 items",
        "No split shares a pair, an intent or an origin with another.",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "'nowhere' is no data set, file or folder\nKnown data sets: conala, codealpacapy"),
        (["."], ".: holds no train, validation or test file in a format that is read"),
        (["snippets", "--model", "none"], "--model: unknown model 'none'\nA hub id or a folder will do too."),
        (["snippets", "--intent", "ask"], "has no column 'ask'\nIts columns are: id, nl, cmd"),
    ],
)
def test_mistakes(call: Call, arguments: list[str], message: str) -> None:
    ended = call("data", "check", *arguments)
    assert ended.code == 2
    assert message in ended.err


def test_codealpacapy_is_built(call: Call, tmp_path: Path) -> None:
    rows = [{"instruction": f"number {n}", "input": "", "output": f"x = {n}"} for n in range(9)]
    source = tmp_path / "source.json"
    source.write_text(json.dumps([*rows, {"instruction": "none", "input": "", "output": ""}]))
    ended = call("data", "build", "codealpacapy", str(source))
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "10 rows, 10 of them without input and with an output that is Python",
        "Dropped for its blank output: none",
        "6 train, 1 validation, 2 test in codealpacapy",
        "CodeAlpaca-20k gives 3,136 such rows, so this is another version of it.",
        "These are not the published splits, only as large: their items lie in other ones.",
        f"To use them: export RAYPEFT_DATA={tmp_path}",
    ]
    assert len((tmp_path / "codealpacapy" / "train.jsonl").read_text().splitlines()) == 6
    again = call("data", "build", "codealpacapy", str(source), "--out", "other")
    assert again.out.splitlines()[-1] == f"To use them: --set catalogue.datasets.codealpacapy.folder={tmp_path}/other"
    assert call("data", "build", "codealpacapy", str(source)).code == 2
    assert "It builds codealpacapy." in call("data", "build", "conala", str(source)).err
    assert "absent.json: cannot be read: No such file" in call("data", "build", "codealpacapy", "absent.json").err
