"""What a sweep does with each report and each end of a trial."""

from typing import Any

from ray import tune

from raypeft.execution import disk
from raypeft.execution.interruption import GRACE_SECONDS, Interruption
from raypeft.execution.memory_kills import is_memory_kill
from raypeft.execution.progress import Progress
from raypeft.output.files import write_text
from raypeft.output.text import size
from raypeft.runs.checkpoints import last
from raypeft.runs.ledger import Ledger
from raypeft.runs.records import Measured, Message, State
from raypeft.spec.plan import Cell, Plan
from raypeft.sweep.faults import death_of, in_a_line
from raypeft.sweep.keeping import keep_best
from raypeft.sweep.label import Labels
from raypeft.sweep.scheduler import CellScheduler
from raypeft.sweep.searcher import CellSearcher
from raypeft.sweep.tensorboard import TensorBoard
from raypeft.training.batches import Batches

WORKER_DEATHS = 3
FAILURES_OF_A_CELL = 3
REASONS = {
    State.NAN: "the validation loss was not a finite number",
    State.OOM: "out of memory",
}


class Recorder(tune.Callback):
    """Writes reports and ends of trials to the ledger, and passes them on to the searcher and the progress display."""

    def __init__(
        self,
        plan: Plan,
        ledger: Ledger,
        scheduler: CellScheduler,
        searcher: CellSearcher,
        progress: Progress,
        interruption: Interruption,
    ) -> None:
        self.plan = plan
        self.run = ledger.run
        self.ledger = ledger
        self.scheduler = scheduler
        self.searcher = searcher
        self.progress = progress
        self.interruption = interruption
        self.labels = Labels()
        self.tensorboard = TensorBoard(ledger.run, ledger)
        self._running = 0

    def __getstate__(self) -> dict[str, Any]:
        # Ray pickles its set-up for `Tuner.restore`, which the ledger makes superfluous.
        return {}

    def settle(self) -> None:
        """End the trials whose end was decided before an interruption, but not recorded."""
        for name, reports in list(self.ledger.reports.items()):
            final = reports[-1]
            if name in self.scheduler.stopped or final.end:
                self._end(Cell.parse(final.cell), final.number, final)
        for cell in self.plan.cells:
            self._skip_hopeless(cell)
            self._forget(cell)

    @property
    def halted(self) -> bool:
        """Whether Tune is to end: asked to stop, and no trial is left that might still write a checkpoint."""
        over = self.interruption.seconds > GRACE_SECONDS or not self._running
        return self.interruption.asked is not None and over

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Called by Ray several times a second: once asked to stop, begin no trial and tell the running ones."""
        self._running = sum(trial.status == "RUNNING" for trial in trials)
        if self.interruption.asked is not None and not self.scheduler.halted:
            self.scheduler.halted = self.searcher.halted = True
            try:
                write_text(self.run.stop_file, self.interruption.asked)
            except OSError:
                self._running = 0  # the disk is full: nothing could be written anyway

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called by Ray."""
        self.labels.show(trial.config["trial"])
        self.progress.trial_begins(trial.config["trial"])

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Called by Ray for every report, after the scheduler has seen it."""
        config, message = trial.config, Message.received(result)
        name, cell, number = config["trial"], Cell.parse(config["cell"]), config["number"]
        if message.notice:
            self._note(name, message.notice)
        if message.end == State.PAUSED:
            if message.fault:
                self._pause(message.fault)
            return
        if self.ledger.is_new(name, message.report):
            report = self.ledger.record(name, cell, number, message, config["hyperparameters"])
            self.searcher.observe(report)
            self.labels.reported(report)
            self.tensorboard.reported(report)
            self.progress.reported(report)
            trial.max_failures = trial.num_failures + WORKER_DEATHS  # deaths count from the last progress
            self._check_disk(name)
        if message.end or name in self.scheduler.stopped:
            self._end(cell, number, message)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called by Ray when a trial's worker has died and another is to go on with it."""
        config, death, smaller = trial.config, death_of(trial), ""
        if is_memory_kill(death):
            kills, study = config.get("memory_kills", 0), self.plan.resolved.study
            if not Batches.of(study, kills).least:
                config["memory_kills"] = kills + 1
                trial.max_failures = trial.num_failures + WORKER_DEATHS
                smaller = " with smaller batches"
        self._note(config["trial"], f"its worker died ({in_a_line(death)}): goes on from its last checkpoint{smaller}")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called by Ray when a trial's worker has died too often."""
        death = death_of(trial)
        fault = f"its worker died {WORKER_DEATHS + 1} times without getting further ({in_a_line(death)})"
        state = State.OOM if is_memory_kill(death) else State.ERROR
        last = Message(report=-1, validation_loss=None, end=state, fault=fault, error=f"see {trial.error_file}")
        self._end(Cell.parse(trial.config["cell"]), trial.config["number"], last)

    def _note(self, trial: str, text: str) -> None:
        self.ledger.note(trial, text)
        self.progress.say(f"{trial}: {text}")

    def _pause(self, fault: str) -> None:
        self.interruption.pause(disk.full(self.run.folder, fault))

    def _check_disk(self, trial: str) -> None:
        """Pause before space runs out, while there is enough for the checkpoints of the trials that run."""
        newest = last(self.run.trial_folder(trial))
        weight = sum(size for size, _ in newest.files.values()) if newest else 0
        left, reserve = disk.free(self.run.folder), disk.reserve(weight, max(1, self._running))
        if left < reserve:
            self._pause(f"{size(left)} are free, and running trials may need {size(reserve)}")

    def _skip_hopeless(self, cell: Cell) -> None:
        """Skip what is left of a cell whose trials fail for reasons that another try would meet again."""
        failed = [end for end in self.ledger.of(cell) if end.state == State.ERROR and not end.transient]
        if len(failed) < FAILURES_OF_A_CELL:
            return
        self.searcher.drop(cell)
        for number in range(self.plan.resolved.study.trials):
            name = cell.trial_name(number)
            if (
                name not in self.ledger.ended
                and name not in self.ledger.reports
                and name not in self.searcher.suggested
            ):
                reason = f"{len(failed)} trials of its cell failed: {failed[-1].reason}"
                self.progress.trial_ended(self.ledger.end(name, cell, number, {}, State.SKIPPED, reason=reason))

    def _end(self, cell: Cell, number: int, last: Measured) -> None:
        """End a trial after what it said last, a message or, before an interruption, a report."""
        name, fault = cell.trial_name(number), last.fault if isinstance(last, Message) else None
        if name in self.ledger.ended:
            return
        state = last.end or State.STOPPED
        end = self.ledger.end(
            name,
            cell,
            number,
            self.searcher.hyperparameters(cell, number),
            state,
            reason=self._reason(name, state, fault),
            error=last.error,
            transient=isinstance(last, Message) and bool(last.transient),
        )
        self.searcher.conclude(end)
        self.labels.remove(name)
        self.tensorboard.ended(end)
        self.progress.trial_ended(end)
        if state == State.ERROR:
            self._skip_hopeless(cell)
        self._forget(cell)

    def _forget(self, cell: Cell) -> None:
        """Remove the checkpoints that the study does not keep."""
        if self.plan.resolved.study.resources.keep_checkpoints == "best":
            keep_best(self.run, self.ledger.of(cell))

    def _reason(self, name: str, state: State, fault: str | None) -> str | None:
        if state == State.ERROR:
            return fault
        if state == State.OOM and fault:
            return f"{REASONS[state]}: {fault}"
        return self.scheduler.stopped.get(name) if state == State.STOPPED else REASONS.get(state)


class Halt(tune.Stopper):
    """Ends the Tune run when the recorder says so."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Called by Ray for every report; single trials are the scheduler's."""
        return False

    def stop_all(self) -> bool:
        """Called by Ray several times a second."""
        return self.recorder.halted
