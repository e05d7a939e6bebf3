"""A run folder with damaged files is mended before a study goes on in it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raypeft import pipeline
from raypeft.errors import UserError
from raypeft.metrics.items import measure
from raypeft.output.files import append_line, read_json, repair_lines, write_json, write_lines, write_text
from raypeft.pipeline import pending
from raypeft.report import write
from raypeft.report.numbers.scores import read_scores
from raypeft.runs.folder import Run, scores_file
from raypeft.runs.ledger import Ledger, remaining
from raypeft.runs.records import Message, State
from raypeft.runs.recovery import mend
from raypeft.runs.selection import select
from raypeft.sweep.searcher import CellSearcher
from tests.completed import CELL, JOB, complete, completed, damage, start


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return completed(tmp_path)


def test_a_sound_folder_is_left_alone(run: Run) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.folder.rglob("*")}
    assert mend(run) == []
    assert {path: path.stat().st_mtime_ns for path in run.folder.rglob("*")} == before
    assert not pending(run, pipeline.STAGES)


@pytest.mark.parametrize(
    "content", [b'{"n": 1}\n{"n": 2}\n{"n', b'{"n": 1}\n\x00\x00\x00\n{"n": 2}\n', b'{"n": 1}\n17\n{"n": 2}']
)
def test_damaged_lines_are_dropped_and_counted(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(content)
    assert repair_lines(file) == (0 if content.endswith(b"2}") and b"17" not in content else 1)
    assert file.read_bytes() == b'{"n": 1}\n{"n": 2}\n'
    assert repair_lines(file) == 0 == repair_lines(tmp_path / "absent.jsonl")


def test_a_torn_report_is_given_again(run: Run) -> None:
    rows = list(run.reports())
    torn = run.reports_file.read_bytes()[:-20]
    run.reports_file.write_bytes(torn)
    assert mend(run) == ["reports.jsonl: 1 damaged line dropped"]
    assert list(run.reports()) == rows[:-1]
    assert Ledger(run).is_new(rows[-1].trial, rows[-1].report)
    assert [event.text for event in run.events()] == ["reports.jsonl: 1 damaged line dropped"]


def test_a_torn_end_of_a_trial_lets_it_end_again(run: Run) -> None:
    rows = list(run.trials())
    run.trials_file.write_bytes(run.trials_file.read_bytes()[:-20])
    mend(run)
    ledger = Ledger(run)
    assert [cell.trial_name(number) for cell, number in remaining(run.plan, ledger)] == [rows[-1].trial]


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (lambda run: run.test_file(CELL), "tiny-decoder/snippets/lora: test.json or its predictions.jsonl"),
        (lambda run: run.predictions_file(CELL), "tiny-decoder/snippets/lora: test.json or its predictions.jsonl"),
        (lambda run: run.icl_file(JOB), "1-shot-seed-42.json or its 1-shot-seed-42.jsonl"),
        (lambda run: run.cell_folder(CELL) / "selection.json", "tiny-decoder/snippets/lora: selection.json"),
    ],
    ids=["test", "predictions", "icl", "selection"],
)
@pytest.mark.parametrize("fault", [damage, lambda file: file.write_bytes(b""), lambda file: file.write_text("[]")])
def test_a_damaged_result_is_made_again(
    run: Run, file: Callable[[Run], Path], said: str, fault: Callable[[Path], Any]
) -> None:
    fault(file(run))
    (line,) = mend(run)
    assert said in line and line.endswith("is damaged, and is made again")
    assert pending(run, pipeline.STAGES)
    if "selection" in line:
        assert select(run)[CELL].trial is not None
        assert not pending(run, pipeline.STAGES)


def test_reports_can_be_written_of_a_damaged_folder(run: Run) -> None:
    write_lines(
        run.reports_file, [{**row.content(), "epoch": 0.2 * row.report, "step": row.report} for row in run.reports()]
    )
    for file in (run.test_file(CELL), run.manifest_file, run.cell_folder(CELL) / "selection.json"):
        damage(file)
    assert write(run).exists()


def test_a_damaged_manifest_is_made_again(run: Run) -> None:
    damage(run.manifest_file)
    assert "cannot be compared" in mend(run)[0]
    assert not run.manifest_file.exists()


def test_what_a_killed_process_left_half_written_goes(run: Run) -> None:
    write_text(run.cell_folder(CELL) / ".test.json.123.tmp", "{")
    write_text(run.stop_file, "SIGTERM")
    assert mend(run) == []
    assert not run.stop_file.exists() and list(run.folder.rglob("*.tmp")) == []


def journal_points(run: Run) -> list[tuple[int, Any, Any, Any]]:
    searcher = CellSearcher(run.plan, Ledger(run), run.folder)
    trials = searcher._study(CELL).get_trials()
    return [(one.number, one.params, one.intermediate_values, one.state) for one in trials]


def middle_line(file: Path) -> None:
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:5] + lines[6:]))


@pytest.mark.parametrize(
    "fault", [damage, middle_line, Path.unlink, lambda file: file.write_bytes(b"\x00" * 100)],
    ids=["truncated", "a line lost", "deleted", "overwritten"],
)  # fmt: skip
def test_a_damaged_journal_is_rebuilt_and_the_search_goes_on_as_it_would_have(
    tmp_path: Path, fault: Callable[[Path], Any]
) -> None:
    whole, hurt = start(tmp_path / "whole"), start(tmp_path / "hurt")
    complete(whole)
    complete(hurt)
    fault(hurt.optuna_file)
    assert journal_points(hurt) == journal_points(whole)
    for one in (whole, hurt):
        start(one.folder, trials=8)
        complete(Run(one.folder))
    more = [list(Run(one.folder).trials()) for one in (whole, hurt)]
    assert len(more[0]) == 8
    assert [row.hyperparameters for row in more[0]] == [row.hyperparameters for row in more[1]]


def test_a_trial_half_drawn_when_the_process_died_is_drawn_again(tmp_path: Path) -> None:
    run = start(tmp_path)
    searcher = CellSearcher(run.plan, Ledger(run), run.folder)
    points = [searcher.hyperparameters(CELL, number) for number in range(3)]
    lines = run.optuna_file.read_bytes().splitlines(keepends=True)
    run.optuna_file.write_bytes(b"".join(lines[:-2]))
    again = CellSearcher(run.plan, Ledger(run), run.folder)
    assert again.rebuilt
    assert [again.hyperparameters(CELL, number) for number in range(3)] == points


def test_a_dead_process_does_not_keep_the_journal_locked(tmp_path: Path) -> None:
    run = start(tmp_path)
    CellSearcher(run.plan, Ledger(run), run.folder)
    Path(f"{run.optuna_file}.lock").symlink_to(run.optuna_file)
    CellSearcher(run.plan, Ledger(run), run.folder).hyperparameters(CELL, 0)
    assert not Path(f"{run.optuna_file}.lock").is_symlink()


def test_damaged_weights_are_selected_again_before_their_test(run: Run) -> None:
    first = run.selection(CELL)
    run.test_file(CELL).unlink()
    damage(run.cell_folder(CELL) / "best" / "adapter_model.safetensors")
    again = select(run)[CELL]
    assert first is not None and again == first
    assert (run.cell_folder(CELL) / "best" / "adapter_model.safetensors").read_text() == first.trial


def test_the_next_best_stands_in_for_a_damaged_best(run: Run) -> None:
    first = run.selection(CELL)
    assert first is not None
    (run.cell_folder(CELL) / "selection.json").unlink()
    damage(next(run.trial_folder(first.trial).glob("checkpoint-*/adapter_model.safetensors")))
    said: list[str] = []
    again = select(run, said.append)[CELL]
    assert again.trial != first.trial and again.validation_loss >= first.validation_loss
    assert f"of {first.trial} is damaged (adapter_model.safetensors" in str(again.notice)
    assert said == [f"{CELL.id}: {again.notice}"] == [f"{CELL.id}: {event.text}" for event in run.events()]


def test_events_are_read_in_order(run: Run) -> None:
    run.note("first")
    append_line(run.events_file, {"text": "second", "time": 0.0, "trial": "x"})
    assert [event.text for event in run.events()] == ["first", "second"]
    assert read_json(run.folder / "absent.json") is None


def reworked(file: Path, change: Callable[[Any], Any]) -> None:
    write_json(file, change(read_json(file)))


WRONG = {
    "another kind": lambda file: file.write_text("[]"),
    "nothing": lambda file: file.write_text("{}"),
    "wrong shape": lambda file: reworked(file, lambda row: {**row, "trials": [], "metrics": [], "datasets": []}),
    "of another": lambda file: reworked(
        file, lambda row: {**row, "cell": "tiny-decoder/snippets/ia3", "seed": 7, "revisions": {"x": 1}}
    ),
}


@pytest.mark.parametrize("fault", WRONG.values(), ids=WRONG)
def test_results_of_the_wrong_shape_or_of_another_are_made_again(tmp_path: Path, fault: Callable[[Path], Any]) -> None:
    run = completed(tmp_path)
    files = [run.selection_file(CELL), run.test_file(CELL), run.icl_file(JOB), run.manifest_file]
    for file in files:
        fault(file)
    said = mend(Run(run.folder))
    assert len(said) == 4 and not any(file.exists() for file in files if file != run.manifest_file)
    assert pending(Run(run.folder), pipeline.STAGES)
    assert select(Run(run.folder))[CELL].trial is not None
    assert mend(Run(run.folder)) == []


@pytest.mark.parametrize("older", [False, True])
def test_garbage_in_place_of_predictions_lets_them_be_made_again(run: Run, older: bool) -> None:
    for file in (run.test_file(CELL), run.icl_file(JOB)):
        if older:
            reworked(file, lambda row: {k: v for k, v in row.items() if k not in ("format", "predictions_sha256")})
        predictions = run.predictions_file(CELL) if file == run.test_file(CELL) else file.with_suffix(".jsonl")
        write_text(predictions, '{"x": 1}\n{"x": 2}\n')
    assert [line.split(": ")[1] for line in mend(run)] == [
        "test.json or its predictions.jsonl is damaged, and is made again",
        "1-shot-seed-42.json or its 1-shot-seed-42.jsonl is damaged, and is made again",
    ]
    assert run.test(CELL) is run.icl(JOB) is None


def test_results_put_in_place_of_each_other_are_made_again(run: Run) -> None:
    swapped = [(run.test_file(CELL), run.icl_file(JOB))]
    swapped += [(run.predictions_file(CELL), run.icl_file(JOB).with_suffix(".jsonl"))]
    write_lines(swapped[1][1], [row.content() for row in run.predictions(run.predictions_file(CELL))][::-1])
    for one, other in swapped:
        contents = one.read_bytes(), other.read_bytes()
        one.write_bytes(contents[1])
        other.write_bytes(contents[0])
    assert len(mend(run)) == 2
    assert run.test(CELL) is run.icl(JOB) is None


def test_lost_reports_are_said_and_end_a_search_that_would_go_by_them(run: Run) -> None:
    run.reports_file.unlink()
    (said,) = mend(run)
    assert said.startswith("reports.jsonl has lost the reports of 4 ended trials (tiny-decoder·lora·snippets·000, ")
    assert said.endswith("their curves are lost, what was selected and tested stands")
    start(run.folder, trials=8)
    with pytest.raises(UserError, match="which the trials that are left are compared with"):
        mend(Run(run.folder))


@pytest.mark.parametrize(
    ("lay", "said"),
    [
        (lambda run: strange(run.reports_file, Path.mkdir), "reports.jsonl is no file"),
        (lambda run: strange(run.trials_file, os.mkfifo), "trials.jsonl is no file"),
        (lambda run: strange(run.test_file(CELL), lambda file: file.symlink_to("/dev/null")), "test.json is a link"),
        (lambda run: strange(run.folder / "icl", Path.touch), "icl is no folder"),
        (lambda run: strange(run.optuna_file, Path.mkdir), "optuna.log is no file"),
    ],
)
def test_what_is_no_file_of_a_run_is_the_users_to_remove(run: Run, lay: Callable[[Run], Any], said: str) -> None:
    lay(run)
    with pytest.raises(UserError, match=said):
        mend(run)


def strange(file: Path, lay: Callable[[Path], Any]) -> None:
    if file.is_dir():
        shutil.rmtree(file)
    else:
        file.unlink()
    lay(file)


@pytest.mark.parametrize("lost", ["the end", "the end and a report", "a report"])
def test_a_journal_that_knows_more_than_the_ledger_follows_it(tmp_path: Path, lost: str) -> None:
    whole, hurt = start(tmp_path / "whole"), start(tmp_path / "hurt")
    complete(whole)
    complete(hurt)
    if "end" in lost:
        hurt.trials_file.write_bytes(hurt.trials_file.read_bytes()[:-20])
    if "report" in lost:
        hurt.reports_file.write_bytes(hurt.reports_file.read_bytes()[:-20])
    mend(hurt)
    ledger = Ledger(hurt)
    searcher = CellSearcher(hurt.plan, ledger, hurt.folder)
    assert searcher.rebuilt
    (name,) = [row.trial for row in list(whole.trials())[-1:]]
    last = list(whole.reports())[-1]
    if "report" in lost and name not in ledger.ended:  # the trial goes on from its checkpoint and says it again
        again = Message.received(last.content() | {"end": last.end})
        searcher.observe(ledger.record(name, CELL, last.number, again, last.hyperparameters or {}))
    if "end" in lost:
        end = ledger.end(name, CELL, last.number, searcher.hyperparameters(CELL, last.number), State.FINISHED)
        searcher.conclude(end)
        assert journal_points(hurt)[-1][:3] == journal_points(whole)[-1][:3]
    assert not CellSearcher(hurt.plan, Ledger(hurt), hurt.folder).rebuilt


def test_damaged_scores_of_items_are_computed_again(run: Run) -> None:
    file = scores_file(run.predictions_file(CELL))
    content, block = file.read_bytes(), read_scores(run, run.predictions_file(CELL)).block()
    for fault in (b"", content[:100], content[:-30], bytes(len(content)), b"PK" + content[4:]):
        file.write_bytes(fault)
        assert read_scores(run, run.predictions_file(CELL)).block() == block
    file.write_bytes(content)
    other = measure(["test-001", "test-002"], ["x", "y"], [["x"], ["y"]])
    other.save(file, predictions="0" * 64)  # of the same items in another test
    assert read_scores(run, run.predictions_file(CELL)).block() == block


@pytest.mark.parametrize("point", [{"a": 1}, {}, None, {"r": "x"}, {"lora_alpha": None}])
def test_points_that_their_technique_cannot_draw_do_not_end_a_search(
    tmp_path: Path, point: dict[str, Any] | None
) -> None:
    run = start(tmp_path)
    complete(run)
    whole = journal_points(run)
    rows = list(run.trials())
    wrong = point if not point or "a" in point else {**rows[2].hyperparameters, **point}
    write_lines(
        run.trials_file,
        [{**row.content(), "hyperparameters": wrong} if row.number == 2 else row.content() for row in rows],
    )
    mend(run)
    assert len(list(run.trials())) == (3 if point is None else 4)
    points = journal_points(run)
    assert [one[1] for one in points] == [one[1] for one in whole]
    assert not CellSearcher(run.plan, Ledger(run), run.folder).rebuilt
