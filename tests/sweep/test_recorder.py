"""What a sweep does with faults: each has its end, and none stops another cell."""

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import OutOfMemoryError
from rich.console import Console

from raypeft.errors import UserError
from raypeft.execution import disk
from raypeft.execution.interruption import Interruption
from raypeft.execution.progress import Progress
from raypeft.output.files import write_text
from raypeft.report import write
from raypeft.runs.checkpoints import seal
from raypeft.runs.folder import Run
from raypeft.runs.ledger import Ledger, remaining
from raypeft.runs.records import State, TrialEnd
from raypeft.runs.selection import select
from raypeft.spec.plan import Cell
from raypeft.spec.resolve import resolve
from raypeft.sweep.recorder import Recorder
from raypeft.sweep.scheduler import CellScheduler
from raypeft.sweep.searcher import CellSearcher
from raypeft.training.batches import Batches
from tests.said import message

# How Ray 2.60 begins
KILLED = (
    "1 worker(s) were killed due to the node running low on memory. Memory on the node (IP: 192.0.2.2, ID: 43f6e6923) "
    "was 5.03GB used / 23.54GB limit (0.213479)\nOOM kill reason: Memory usage 5395841024B exceeded threshold\n"
)
LORA, IA3 = Cell("tiny-decoder", "snippets", "lora"), Cell("tiny-decoder", "snippets", "ia3")


class Sweep:
    """A driver's parts, fed by hand with what Ray would bring."""

    def __init__(self, folder: Path, trials: int = 6) -> None:
        self.run = Run(folder)
        if not self.run.study_file.exists():
            resolved = resolve("quickstart", models=["tiny-decoder"], techniques=["lora", "ia3"], trials=trials)
            write_text(self.run.study_file, resolved.dump())
        plan = self.run.plan
        self.said: list[str] = []
        progress = Progress(plan, Console(quiet=True))
        progress.say = self.said.append  # type: ignore[method-assign]
        self.ledger = Ledger(self.run)
        self.scheduler = CellScheduler(plan)
        self.scheduler.replay(self.ledger.history)
        self.searcher = CellSearcher(plan, self.ledger, folder)
        self.interruption = Interruption(self.said.append, lambda: None)
        self.recorder = Recorder(plan, self.ledger, self.scheduler, self.searcher, progress, self.interruption)
        self.recorder.settle()
        self.searcher.enqueue(remaining(plan, self.ledger))

    def next(self) -> Any:
        """The next trial, as Ray makes it."""
        config = self.searcher.suggest("id")
        if config == "FINISHED":
            return None
        return SimpleNamespace(
            config=config, status="RUNNING", num_failures=0, max_failures=3, error_file="error.txt",
            pickled_error_file=self.run.folder / "error.pkl",
        )  # fmt: skip

    def report(self, trial: Any, **row: Any) -> None:
        self.recorder.on_trial_result(0, [trial], trial, row)

    def rows(self) -> dict[tuple[str, int], TrialEnd]:
        return {(row.cell.rsplit("/", 1)[1], row.number): row for row in self.run.trials()}


def measured(number: int, loss: float = 1.0) -> dict[str, Any]:
    return {
        "report": number, "epoch": 0.2 * number, "step": number, "validation_loss": loss, "best_loss": loss,
        "em@10": 0.0,
        "em@10_computed": True, "training_seconds": 1.0, "evaluation_seconds": 1.0, "items_per_second": None,
        "peak_memory_mib": 1.0, "trainable_parameters": 1, "parameters": 2,
    }  # fmt: skip


def fault(text: str, **further: Any) -> dict[str, Any]:
    return {"report": -1, "validation_loss": None, "end": "error", "fault": text, "error": "Traceback…", **further}


def test_a_cell_whose_trials_fail_is_given_up_and_the_others_go_on(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    ran = []
    while (trial := sweep.next()) is not None:
        cell = trial.config["cell"].rsplit("/", 1)[1]
        ran.append((cell, trial.config["number"]))
        if cell == "lora":
            sweep.report(trial, **fault("no such module"))
        else:
            sweep.report(trial, **measured(0))
            folder = sweep.run.trial_folder(trial.config["trial"]) / "checkpoint-0"
            write_text(folder / "adapter_config.json", "{}")
            seal(folder, message(**measured(0)))
            sweep.report(trial, **measured(25), end="finished")
    assert ran == [
        ("lora", 0), ("ia3", 0), ("lora", 1), ("ia3", 1), ("lora", 2), ("ia3", 2), ("ia3", 3), ("ia3", 4), ("ia3", 5)
    ]  # fmt: skip
    rows = sweep.rows()
    assert [rows["lora", number].state for number in range(6)] == ["error"] * 3 + ["skipped"] * 3
    assert rows["lora", 2].reason == "no such module" and rows["lora", 2].error == "Traceback…"
    assert rows["lora", 5].reason == "3 trials of its cell failed: no such module"
    assert len(list(sweep.run.trials())) == 12 and remaining(sweep.run.plan, sweep.ledger) == []
    selections = select(sweep.run)
    assert selections[LORA].reason == "no trial could be used: 3 error, 3 skipped (no such module)"
    assert selections[IA3].trial == "tiny-decoder·ia3·snippets·000"
    page = write(sweep.run).read_text(encoding="utf-8")
    assert "3 skipped" in page


def test_a_cell_is_given_up_also_by_the_next_execution(tmp_path: Path) -> None:
    first = Sweep(tmp_path)
    for _ in range(3):
        trial, other = first.next(), first.next()
        first.ledger.end(trial.config["trial"], LORA, trial.config["number"], {}, State.ERROR, reason="broken")
    later = Sweep(tmp_path)
    assert [later.rows()["lora", number].state for number in range(3, 6)] == ["skipped"] * 3
    assert {cell for cell, _ in remaining(later.run.plan, later.ledger)} == {IA3}
    assert Sweep(tmp_path).rows() == later.rows() and other is not None


def test_a_silent_hub_does_not_condemn_the_cell(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    ran = 0
    while (trial := sweep.next()) is not None:
        sweep.report(trial, **fault("the hub did not answer", transient=True))
        ran += 1
    assert ran == 12
    assert {row.state for row in sweep.rows().values()} == {"error"}


def test_deaths_of_a_worker_count_from_the_last_progress(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    trial = sweep.next()
    trial.num_failures = 2
    sweep.report(trial, **measured(0))
    assert trial.max_failures == 2 + 3
    trial.num_failures = 5
    sweep.report(trial, **measured(0))  # the same report again is no progress
    assert trial.max_failures == 5
    trial.pickled_error_file.write_bytes(pickle.dumps(RuntimeError("The actor died unexpectedly.\nMore of it.")))
    sweep.recorder.on_trial_recover(0, [trial], trial)
    text = "its worker died (The actor died unexpectedly): goes on from its last checkpoint"
    assert f"tiny-decoder·lora·snippets·000: {text}" in sweep.said
    sweep.recorder.on_trial_error(0, [trial], trial)
    row = sweep.rows()["lora", 0]
    assert row.state == "error" and row.notices == [text]
    assert row.reason == "its worker died 4 times without getting further (The actor died unexpectedly)"


def test_a_worker_killed_for_its_machines_memory_goes_on_with_less_until_one_item_is_too_much(tmp_path: Path) -> None:
    """Batches of 8 and 16 can be halved four times; each time, the deaths count anew."""
    sweep = Sweep(tmp_path)
    trial = sweep.next()
    trial.pickled_error_file.write_bytes(pickle.dumps(OutOfMemoryError(KILLED)))
    said = []
    for kill in range(1, 8):
        trial.num_failures = kill
        sweep.recorder.on_trial_recover(0, [trial], trial)
        said.append((trial.config["memory_kills"], trial.max_failures, sweep.said[-1].endswith("with smaller batches")))
    assert said == [(1, 4, True), (2, 5, True), (3, 6, True), (4, 7, True), *[(4, 7, False)] * 3]
    why = "Ray killed it: 5.03GB of its machine's 23.54GB of memory were in use"
    assert (
        sweep.said[-1] == f"tiny-decoder·lora·snippets·000: its worker died ({why}): goes on from its last checkpoint"
    )
    sweep.recorder.on_trial_error(0, [trial], trial)
    row = sweep.rows()["lora", 0]
    assert (row.state, row.error) == ("oom", "see error.txt")
    assert row.reason == f"out of memory: its worker died 4 times without getting further ({why})"


def test_batches_halve_once_for_each_memory_kill(tmp_path: Path) -> None:
    study = Sweep(tmp_path).run.plan.resolved.study
    found = [Batches.of(study, kills) for kills in range(6)]
    assert [(one.micro, one.decode) for one in found] == [(8, 16), (4, 8), (2, 4), (1, 2), (1, 1), (1, 1)]
    assert {one.batch for one in found} == {8}


@pytest.mark.parametrize("end", ["nan", "oom"])
def test_what_depends_on_the_hyperparameters_does_not_condemn_the_cell(tmp_path: Path, end: str) -> None:
    sweep = Sweep(tmp_path)
    while (trial := sweep.next()) is not None:
        sweep.report(trial, report=-1, validation_loss=None, end=end)
    assert [row.state for row in sweep.rows().values()] == [end] * 12


def test_a_damaged_checkpoint_is_said_and_kept_with_the_trial(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    trial = sweep.next()
    notice = "checkpoint-12 is damaged (optimizer.pt has changed): goes on from checkpoint-8"
    sweep.report(trial, **measured(0), notice=notice)
    later = Sweep(tmp_path)  # an interruption in between
    later.report(trial, **measured(25), end="finished")
    assert later.rows()["lora", 0].notices == [notice]
    assert "notice" not in next(sweep.run.reports()).content()
    assert f"tiny-decoder·lora·snippets·000: {notice}" in sweep.said


def test_reports_given_again_are_not_recorded_again(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    trial = sweep.next()
    for number in (0, 1, 2, 1, 2, 3):  # went on from an older checkpoint
        sweep.report(trial, **measured(number))
    assert [row.report for row in sweep.run.reports()] == [0, 1, 2, 3]


def test_a_full_disk_pauses_the_run_and_ends_no_trial(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    trial = sweep.next()
    sweep.report(trial, report=-1, validation_loss=None, end="paused", fault="No space left on device")
    assert sweep.rows() == {} and sweep.interruption.asked is not None
    with pytest.raises(UserError, match="the disk is full: No space left on device"):
        sweep.interruption.raise_pause()
    trial.status = "TERMINATED"
    sweep.recorder.on_step_begin(0, [trial])
    assert sweep.recorder.halted and sweep.scheduler.halted and sweep.next() is None
    assert len(remaining(sweep.run.plan, Ledger(sweep.run))) == 12


def test_the_run_pauses_before_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = Sweep(tmp_path)
    trial = sweep.next()
    sweep.report(trial, **measured(0))
    assert sweep.interruption.asked is None
    monkeypatch.setattr(disk, "free", lambda folder: disk.FLOOR - 1)
    sweep.report(trial, **measured(1))
    assert sweep.interruption.asked is not None and sweep.interruption.fault is not None
    assert [row.report for row in sweep.run.reports()] == [0, 1] and sweep.rows() == {}


def test_a_stop_waits_for_running_trials_to_write_their_checkpoints(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    trial = sweep.next()
    sweep.recorder.on_step_begin(0, [trial])
    assert not sweep.recorder.halted and not sweep.run.stop_file.exists()
    sweep.interruption.ask("SIGTERM")
    sweep.recorder.on_step_begin(1, [trial])
    assert sweep.run.stop_file.read_text() == "SIGTERM"
    assert not sweep.recorder.halted and sweep.scheduler.choose_trial_to_run(None) is None
    sweep.report(trial, report=0, validation_loss=1.0, end="paused")
    trial.status = "TERMINATED"
    sweep.recorder.on_step_begin(2, [trial])
    assert sweep.recorder.halted and sweep.rows() == {}
