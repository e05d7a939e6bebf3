"""A study that has changed since its run began: what is taken, what is refused, what is done again."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from raypeft import pipeline
from raypeft.cli import app
from raypeft.errors import UserError
from raypeft.execution.interruption import Interruption
from raypeft.output.files import read_lines, write_text
from raypeft.pipeline import pending
from raypeft.runs.checkpoints import seal
from raypeft.runs.folder import Run
from raypeft.runs.ledger import Ledger
from raypeft.runs.records import State
from raypeft.runs.selection import select
from raypeft.spec.plan import STAGES
from raypeft.sweep.searcher import CellSearcher
from tests.completed import CELL, SETTINGS, completed, damage, start
from tests.said import message


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return completed(tmp_path)


def test_more_trials_are_selected_from_again_and_tested_if_that_changes(run: Run) -> None:
    first = run.selection(CELL)
    start(run.folder, trials=5)
    more = Run(run.folder)
    assert pending(more, STAGES)
    better = {"report": 9, "validation_loss": 0.001, "em@10": 0.0, "em@10_computed": True}
    better |= {key: 1.0 for key in ("training_seconds", "evaluation_seconds", "peak_memory_mib")}
    better |= {"trainable_parameters": 1, "parameters": 2}
    ledger, name = Ledger(more), CELL.trial_name(4)
    ledger.record(name, CELL, 4, message(**better), {"r": 1})
    ledger.end(name, CELL, 4, {"r": 1}, State.FINISHED)
    folder = more.trial_folder(name) / "checkpoint-9"
    write_text(folder / "adapter_model.safetensors", "better")
    seal(folder, message(**better))
    assert first is not None and first.trial != name
    assert select(more)[CELL].trial == name
    assert (more.cell_folder(CELL) / "best" / "adapter_model.safetensors").read_text() == "better"
    assert more.test(CELL) is None and not more.predictions_file(CELL).exists()


def test_more_trials_that_are_no_better_leave_the_test(run: Run) -> None:
    first = run.selection(CELL)
    start(run.folder, trials=5)
    more = Run(run.folder)
    Ledger(more).end(CELL.trial_name(4), CELL, 4, {"r": 1}, State.NAN)
    again = select(more)[CELL]
    assert first is not None and again.trials is not None
    assert (again.trial, again.trials[State.NAN]) == (first.trial, 1)
    assert more.test(CELL) is not None and not pending(more, STAGES)


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """Runs that the pipeline was asked to go on with; it does nothing."""
    runs: list[Run] = []

    def study(resolved: Any, folder: Path, *rest: Any, interruption: Interruption, **further: Any) -> list[str]:
        runs.append(Run(folder))
        return []

    monkeypatch.setattr(pipeline, "study", study)
    return runs


def study(folder: Path, trials: int, *more: str) -> Any:
    command = ["study", "quickstart", "--model", "tiny-decoder", "--technique", "lora", "--samples", str(trials)]
    settings = [argument for setting in (*SETTINGS, *more) for argument in ("--set", setting)]
    return CliRunner().invoke(app, [*command, *settings, "--out", str(folder)])


def test_a_larger_number_of_trials_is_taken_and_a_smaller_refused(run: Run, called: list[Run]) -> None:
    grown = study(run.folder, 6)
    assert grown.exit_code == 0 and "search.trials: was 4, is 6" in grown.output, grown
    assert called[0].plan.trials == 6
    assert [event.text for event in run.events()] == ["search.trials: was 4, is 6"]
    for refused, change in (
        (study(run.folder, 5), "search.trials: was 6, is 5"),
        (study(run.folder, 8, "training.epochs=4"), "training.epochs: was 3.0, is 4.0"),
    ):
        assert isinstance(refused.exception, UserError) and change in str(refused.exception)
        assert "--fresh" in str(refused.exception)
    assert Run(run.folder).plan.trials == 6 and len(called) == 1


def test_anything_may_change_as_long_as_no_trial_has_begun(tmp_path: Path, called: list[Run]) -> None:
    run = start(tmp_path / "run")
    CellSearcher(run.plan, Ledger(run), run.folder).hyperparameters(CELL, 0)
    assert run.optuna_file.exists()
    changed = study(run.folder, 3, "training.epochs=4")
    assert changed.exit_code == 0 and len(called) == 1, changed.output
    assert not run.study_file.exists() and not run.optuna_file.exists()  # the pipeline writes them anew


def test_resources_may_change_but_the_memory_that_decides_which_trials_fit(run: Run, called: list[Run]) -> None:
    moved = study(run.folder, 4, "resources.concurrent=2", "resources.keep_checkpoints=best")
    assert moved.exit_code == 0 and "resources.concurrent: was None, is 2" in moved.output, moved
    resources = called[0].plan.resolved.study.resources
    assert (resources.concurrent, resources.keep_checkpoints) == (2, "best")
    assert "resources.keep_checkpoints: was all, is best" in [event.text for event in run.events()]
    refused = study(run.folder, 4, "resources.concurrent=2", "resources.gpu_memory_gb=24")
    assert isinstance(refused.exception, UserError) and len(called) == 1
    assert "resources.gpu_memory_gb: was None, is 24.0" in str(refused.exception)
    assert "concurrent" not in str(refused.exception) and "resources.keep_checkpoints" not in str(refused.exception)


def test_a_run_without_its_study_is_not_taken_for_a_new_one(run: Run, called: list[Run]) -> None:
    damage(run.study_file)
    hurt = study(run.folder, 4)
    assert isinstance(hurt.exception, UserError) and "its study cannot be read" in str(hurt.exception)
    run.study_file.unlink()
    lost = study(run.folder, 4)
    assert isinstance(lost.exception, UserError) and "study.yaml is gone" in str(lost.exception)
    assert called == [] and len(list(read_lines(run.trials_file))) == 4
