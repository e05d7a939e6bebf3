"""Files of a run folder that are damaged, another's, or none: readers leave them out and say so."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raypeft.errors import UserError
from raypeft.output.files import append_line, read_json, write_json, write_text
from raypeft.runs.folder import Run
from raypeft.runs.reading import append_record, write_predictions
from raypeft.runs.records import Report
from raypeft.runs.selection import selected
from tests.completed import CELL, JOB, completed
from tests.conftest import Call, call

__all__ = ["call"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return completed(tmp_path / "run")


def change(file: Path, **values: Any) -> None:
    write_json(file, {**read_json(file), **values})


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"null", "Input should be an object"),
        (b"{}", "trial: Field required"),
        (b"[" * 5000, "recursion limit exceeded"),
        (b'{"trial": 1}', "trial: Input should be a valid string"),
    ],
)
@pytest.mark.parametrize("file", ["reports.jsonl", "trials.jsonl"])
def test_a_line_of_another_kind_is_left_out_and_named(run: Run, file: str, line: bytes, why: str) -> None:
    rows = {"reports.jsonl": run.reports, "trials.jsonl": run.trials}[file]
    before = list(rows())
    lines = (run.folder / file).read_bytes().splitlines(keepends=True)
    (run.folder / file).write_bytes(b"".join([*lines[:1], line, b"\n", *lines[1:]]))
    assert list(rows()) == before
    (said,) = run.faults()
    assert said.startswith(f"{file}: 1 damaged line (line 2: ") and why in said


def test_rows_of_trials_that_are_not_the_runs_are_left_out(run: Run) -> None:
    before = list(run.trials())
    for strange in (
        {"trial": "tiny-decoder·ia3·snippets·000", "cell": "tiny-decoder/snippets/ia3"},
        {"trial": CELL.trial_name(4), "number": 4},
        {"number": 1},
        {"cell": "tiny-decoder/snippets/ia3"},
    ):
        append_line(run.trials_file, {**before[0].content(), **strange})
    assert list(run.trials()) == before
    assert "4 damaged lines, the first of them (line 5: tiny-decoder·ia3·snippets·000 is no trial of" in run.faults()[0]


def test_of_two_ends_of_a_trial_the_later_one_counts(run: Run) -> None:
    first = next(run.trials())
    append_line(run.trials_file, {**first.content(), "state": "nan"})
    assert [row.state for row in run.trials() if row.trial == first.trial] == ["nan"]
    assert len(list(run.trials())) == 4


def test_a_line_that_is_just_being_written_is_no_fault(run: Run) -> None:
    with run.reports_file.open("ab") as stream:
        stream.write(b'{"trial": "tiny-dec')
    assert len(list(run.reports())) == 12 and run.faults() == []


@pytest.mark.parametrize(
    ("file", "read", "values", "said"),
    [
        (
            "selection.json",
            Run.selection,
            {"cell": "tiny-decoder/snippets/ia3"},
            "is of cell tiny-decoder/snippets/ia3",
        ),
        ("selection.json", Run.selection, {"trial": "x"}, "selects x, which is no trial of tiny-decoder/snippets/lora"),
        ("test.json", Run.test, {"cell": "tiny-decoder/snippets/ia3"}, "is of cell tiny-decoder/snippets/ia3"),
        ("test.json", Run.test, {"dataset": "other"}, "is of dataset other, not of snippets"),
        ("test.json", Run.test, {"trial": "x"}, "is of trial x, not of"),
        ("test.json", Run.test, {"metrics": None}, "metrics: Input should be an object"),
    ],
)
def test_a_file_of_another_cell_is_not_shown_as_this_ones(
    run: Run, file: str, read: Callable[..., Any], values: dict[str, Any], said: str
) -> None:
    assert read(run, CELL) is not None
    change(run.cell_folder(CELL) / file, **values)
    assert read(run, CELL) is None
    assert f"cells/{CELL.id}/{file}: {said}" in run.faults()[0]


def test_an_icl_result_of_another_seed_is_not_shown_as_this_ones(run: Run) -> None:
    change(run.icl_file(JOB), seed=43)
    assert run.icl(JOB) is None and "is of seed 43, not of 42" in run.faults()[0]


def test_predictions_are_those_that_the_result_was_computed_from(run: Run) -> None:
    file = run.predictions_file(CELL)
    assert len(run.predictions(file)) == 2
    write_predictions(file, [row.model_copy(update={"reference": "other()"}) for row in run.predictions(file)])
    assert run.predictions(file) == []
    assert "is not the file that its result was computed from" in run.faults()[0]
    file.unlink()
    assert run.predictions(file) == [] and run.faults()[0].endswith("predictions.jsonl: is missing")


def test_garbage_in_place_of_older_predictions_is_noticed(run: Run) -> None:
    content = read_json(run.test_file(CELL))
    write_json(run.test_file(CELL), {key: content[key] for key in ("cell", "dataset", "trial", "metrics", "seconds")})
    write_text(run.predictions_file(CELL), '{"a": 1}\n{"b": 2}\n')
    assert run.predictions(run.predictions_file(CELL)) == [] and "id: Field required" in run.faults()[0]


@pytest.mark.parametrize(
    ("lay", "said"),
    [
        (lambda file: file.mkdir(), "is a folder"),
        (lambda file: os.mkfifo(file), "is no regular file"),
        (lambda file: file.symlink_to("/dev/zero"), "is no regular file"),
        (lambda file: file.symlink_to(file), "cannot be read (Too many levels of symbolic links)"),
    ],
    ids=["folder", "pipe", "device", "loop"],
)
def test_what_is_no_file_is_named_and_does_not_hang(run: Run, lay: Callable[[Path], Any], said: str) -> None:
    for file in (run.reports_file, run.test_file(CELL), run.predictions_file(CELL), run.manifest_file):
        file.unlink()
        lay(file)
    assert (list(run.reports()), run.test(CELL), run.predictions(run.predictions_file(CELL))) == ([], None, [])
    assert not run.manifest().written
    assert [line.split(": ", 1)[1] for line in run.faults()] == [said] * 4


def test_what_is_no_record_is_not_written(run: Run) -> None:
    before = run.reports_file.read_bytes()
    with pytest.raises(ValueError):
        append_record(run.reports_file, Report(trial=CELL.trial_name(0)))  # type: ignore[call-arg]
    assert run.reports_file.read_bytes() == before


def test_a_run_of_a_later_version_is_refused(run: Run, call: Call) -> None:
    change(run.cell_folder(CELL) / "selection.json", format=2)
    ended = call("status", str(run.folder))
    assert ended.code == 2 and ended.err.count("\n") == 2
    assert "selection.json: a selection was written by a later version of raypeft" in ended.err


def test_readers_name_what_they_leave_out(run: Run, call: Call) -> None:
    change(run.test_file(CELL), cell="tiny-decoder/snippets/ia3")
    run.reports_file.unlink()
    ended = call("status", str(run.folder))
    assert ended.code == 0 and "damaged" in ended.out
    test, reports, hint = ended.err.splitlines()
    assert test.startswith(f"raypeft: cells/{CELL.id}/test.json: is of cell tiny-decoder/snippets/ia3, not of")
    assert reports.startswith("raypeft: reports.jsonl: has lost reports of 4 ended trials (tiny-decoder·lora·snippets·")
    assert hint == "What is damaged is left out. raypeft study mends it, or says what it cannot mend."
    assert call("recommend", str(run.folder), "--json").code == 0


def test_a_cell_with_a_damaged_selection_is_not_exported(run: Run) -> None:
    write_text(run.selection_file(CELL), "{")
    with pytest.raises(UserError, match=r"selection.json: .*EOF"):
        selected(run, CELL)


def test_run_folders_of_before_versions_are_read(run: Run) -> None:
    new = ("format", "predictions_sha256")
    for file in (run.selection_file(CELL), run.test_file(CELL), run.icl_file(JOB)):
        write_json(file, {key: value for key, value in read_json(file).items() if key not in new})
    for file in (run.reports_file, run.trials_file):
        rows = [json.loads(line) for line in file.read_bytes().splitlines()]
        write_text(file, "".join(json.dumps({k: v for k, v in row.items() if k not in new}) + "\n" for row in rows))
    assert (len(list(run.reports())), len(list(run.trials()))) == (12, 4)
    assert all((run.selection(CELL), run.test(CELL), run.icl(JOB), run.predictions(run.predictions_file(CELL))))
    assert run.faults() == []
