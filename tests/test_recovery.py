"""A run folder with damaged files is mended before a study goes on in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from raypeft import pipeline
from raypeft.cli import app
from raypeft.errors import UserError
from raypeft.files import append_line, read_json, read_lines, repair_lines, write_json, write_lines, write_text
from raypeft.interruption import Interruption
from raypeft.pipeline import pending
from raypeft.recovery import mend
from raypeft.report import write
from raypeft.run import Run
from raypeft.selection import select
from raypeft.spec.plan import Cell, IclJob
from raypeft.spec.resolve import resolve
from raypeft.sweep.ledger import Ledger, remaining
from raypeft.sweep.searcher import CellSearcher
from raypeft.training.checkpoint import seal
from tests.report.recording import block, prediction
from tests.sweep.test_searcher import finish

CELL = Cell("tiny-decoder", "snippets", "lora")
JOB = IclJob("tiny-decoder", "snippets", 1, 42)
SETTINGS = ("icl.examples=[1]", "icl.seeds=[42]")


def start(folder: Path, trials: int = 4) -> Run:
    run = Run(folder)
    resolved = resolve("quickstart", models=["tiny-decoder"], techniques=["lora"], trials=trials, settings=SETTINGS)
    write_text(run.study_file, resolved.dump())
    return run


def complete(run: Run) -> None:
    """Let every trial that is left end, with a made-up loss and a checkpoint, and test what is selected."""
    ledger = Ledger(run)
    searcher = CellSearcher(run.plan, ledger, run.folder)
    searcher.enqueue(remaining(run.plan, ledger))
    while (config := searcher.suggest("id")) != "FINISHED":
        assert isinstance(config, dict)
        finish(searcher, ledger, config)
        for row in ledger.reports[config["trial"]][-1:]:
            folder = run.trial_folder(config["trial"]) / f"checkpoint-{row['report']}"
            write_text(folder / "adapter_model.safetensors", config["trial"])
            write_text(folder / "optimizer.pt", "state")
            seal(folder, {key: row[key] for key in ("report", "validation_loss", "em@10", "em@10_computed")})
    select(run)
    result = {"metrics": block(50.0, 60.0, 40.0, 30.0, items=2), "seconds": 1.0, "peak_memory_mib": 1.0}
    result |= {"model": JOB.model, "dataset": JOB.dataset, "examples": JOB.examples, "seed": JOB.seed}
    for file, rows in (
        (run.test_file(CELL), run.predictions_file(CELL)),
        (run.icl_file(JOB), run.icl_file(JOB).with_suffix(".jsonl")),
    ):
        write_lines(rows, [prediction(1), prediction(2)])
        write_json(file, result)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = start(tmp_path)
    complete(made)
    write_json(made.manifest_file, {"datasets": {}})
    return made


def damage(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


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


def test_more_trials_are_selected_from_again_and_tested_if_that_changes(run: Run) -> None:
    first = run.selection(CELL)
    start(run.folder, trials=5)
    more = Run(run.folder)
    assert pending(more, pipeline.STAGES)
    better = {"report": 9, "validation_loss": 0.001, "em@10": 0.0, "em@10_computed": True}
    better |= {key: 1.0 for key in ("training_seconds", "evaluation_seconds", "peak_memory_mib")}
    better |= {"trainable_parameters": 1, "parameters": 2}
    ledger, name = Ledger(more), CELL.trial_name(4)
    ledger.record(name, CELL, 4, better)
    ledger.end(name, CELL, 4, {"r": 1}, "finished")
    folder = more.trial_folder(name) / "checkpoint-9"
    write_text(folder / "adapter_model.safetensors", "better")
    seal(folder, better)
    assert first is not None and first["trial"] != name
    assert select(more)[CELL]["trial"] == name
    assert (more.cell_folder(CELL) / "best" / "adapter_model.safetensors").read_text() == "better"
    assert more.test(CELL) is None and not more.predictions_file(CELL).exists()


def test_more_trials_that_are_no_better_leave_the_test(run: Run) -> None:
    first = run.selection(CELL)
    start(run.folder, trials=5)
    more = Run(run.folder)
    Ledger(more).end(CELL.trial_name(4), CELL, 4, {"r": 1}, "nan")
    again = select(more)[CELL]
    assert first is not None and (again["trial"], again["trials"]["nan"]) == (first["trial"], 1)
    assert more.test(CELL) is not None and not pending(more, pipeline.STAGES)


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
    assert [row["text"] for row in run.events()] == ["search.trials: was 4, is 6"]
    for refused, change in (
        (study(run.folder, 5), "search.trials: was 6, is 5"),
        (study(run.folder, 8, "training.epochs=4"), "training.epochs: was 3.0, is 4.0"),
    ):
        assert isinstance(refused.exception, UserError) and change in str(refused.exception)
        assert "--fresh" in str(refused.exception)
    assert Run(run.folder).plan.trials == 6 and len(called) == 1


def test_resources_may_change_but_the_memory_that_decides_which_trials_fit(run: Run, called: list[Run]) -> None:
    moved = study(run.folder, 4, "resources.concurrent=2", "resources.keep_checkpoints=best")
    assert moved.exit_code == 0 and "resources.concurrent: was None, is 2" in moved.output, moved
    resources = called[0].plan.resolved.study.resources
    assert (resources.concurrent, resources.keep_checkpoints) == (2, "best")
    assert "resources.keep_checkpoints: was all, is best" in [row["text"] for row in run.events()]
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


def test_events_are_read_in_order(run: Run) -> None:
    run.note("first")
    append_line(run.events_file, {"text": "second", "time": 0.0, "trial": "x"})
    assert [row["text"] for row in run.events()] == ["first", "second"]
    assert read_json(run.folder / "absent.json") is None
