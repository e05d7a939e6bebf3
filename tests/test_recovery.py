"""A run folder with damaged files is mended before a study goes on in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raypeft import pipeline
from raypeft.files import append_line, read_json, repair_lines, write_lines, write_text
from raypeft.pipeline import pending
from raypeft.recovery import mend
from raypeft.report import write
from raypeft.run import Run
from raypeft.selection import select
from raypeft.sweep.ledger import Ledger, remaining
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
    assert Ledger(run).is_new(rows[-1]["trial"], rows[-1]["report"])
    assert [row["text"] for row in run.events()] == ["reports.jsonl: 1 damaged line dropped"]


def test_a_torn_end_of_a_trial_lets_it_end_again(run: Run) -> None:
    rows = list(run.trials())
    run.trials_file.write_bytes(run.trials_file.read_bytes()[:-20])
    mend(run)
    ledger = Ledger(run)
    assert [cell.trial_name(number) for cell, number in remaining(run.plan, ledger)] == [rows[-1]["trial"]]


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
        assert select(run)[CELL]["trial"] is not None
        assert not pending(run, pipeline.STAGES)


def test_reports_can_be_written_of_a_damaged_folder(run: Run) -> None:
    write_lines(
        run.reports_file, [{**row, "epoch": 0.2 * row["report"], "step": row["report"]} for row in run.reports()]
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
    assert [row["hyperparameters"] for row in more[0]] == [row["hyperparameters"] for row in more[1]]


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
    assert (run.cell_folder(CELL) / "best" / "adapter_model.safetensors").read_text() == first["trial"]


def test_the_next_best_stands_in_for_a_damaged_best(run: Run) -> None:
    first = run.selection(CELL)
    assert first is not None
    (run.cell_folder(CELL) / "selection.json").unlink()
    damage(next(run.trial_folder(first["trial"]).glob("checkpoint-*/adapter_model.safetensors")))
    said: list[str] = []
    again = select(run, said.append)[CELL]
    assert again["trial"] != first["trial"] and again["validation_loss"] >= first["validation_loss"]
    assert f"of {first['trial']} is damaged (adapter_model.safetensors" in again["notice"]
    assert said == [f"{CELL.id}: {again['notice']}"] == [f"{CELL.id}: {row['text']}" for row in run.events()]


def test_events_are_read_in_order(run: Run) -> None:
    run.note("first")
    append_line(run.events_file, {"text": "second", "time": 0.0, "trial": "x"})
    assert [row["text"] for row in run.events()] == ["first", "second"]
    assert read_json(run.folder / "absent.json") is None
