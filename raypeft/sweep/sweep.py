"""The sweep: one Ray Tune run over all cells of a study."""

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray
from ray import tune
from ray.tune import FailureConfig, RunConfig, TuneConfig
from ray.tune.logger import CSVLoggerCallback, JsonLoggerCallback

from raypeft.errors import UserError
from raypeft.progress import Progress
from raypeft.run import Run
from raypeft.spec.plan import Cell, Plan
from raypeft.spec.study import Resources
from raypeft.sweep.label import Labels
from raypeft.sweep.ledger import MEMORY, Ledger, remaining
from raypeft.sweep.scheduler import CellScheduler
from raypeft.sweep.searcher import CellSearcher
from raypeft.sweep.tensorboard import TensorBoard
from raypeft.sweep.worker import check_techniques, train_trial

WORKER_DEATHS = 3
REPORT_KEYS = (
    "report",
    "epoch",
    "step",
    "validation_loss",
    "best_loss",
    "em@10",
    "em@10_computed",
    "training_seconds",
    "evaluation_seconds",
    "items_per_second",
    *MEMORY,
    "trainable_parameters",
    "parameters",
    "shortened",
    "end",
    "error",
)
REASONS = {
    "nan": "the validation loss was not a finite number",
    "oom": "out of memory",
}


def sweep(run: Run, progress: Progress) -> None:
    """Run every trial of the study that has not ended yet.

    What the ledger holds is the state: an interrupted sweep starts a new Ray Tune run over the trials that are left,
    each of which goes on from its own checkpoint.

    Raises:
        UserError: a technique names something that peft does not have; nothing has been trained then.
        KeyboardInterrupt: the sweep was interrupted with trials left; the same call goes on.
    """
    plan = run.plan
    ledger = Ledger(run)
    scheduler = CellScheduler(plan)
    scheduler.replay(ledger.history)
    searcher = CellSearcher(plan, ledger, run.folder)
    recorder = Recorder(plan, ledger, scheduler, searcher, progress)
    recorder.settle()
    progress.sweep_begins(ledger.ended.values())
    left = remaining(plan, ledger)
    searcher.enqueue(left)
    if not left:
        return
    if problems := ray.get(ray.remote(check_techniques).remote(str(run.folder))):
        raise UserError("\n" + "\n".join(f"  {problem}" for problem in problems), where=str(run.study_file))
    resources = plan.resolved.study.resources
    tuner = tune.Tuner(
        tune.with_resources(train_trial, trial_resources(resources, ray.cluster_resources())),
        tune_config=TuneConfig(
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=len(left),
            max_concurrent_trials=resources.concurrent,
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=RunConfig(
            name="tune",
            storage_path=str(run.folder),
            callbacks=[recorder, CSVLoggerCallback(), JsonLoggerCallback()],
            failure_config=FailureConfig(max_failures=WORKER_DEATHS),
            verbose=0,
        ),
    )
    with _signals_restored():
        tuner.fit()
    if remaining(plan, ledger):
        raise KeyboardInterrupt


@contextmanager
def _signals_restored() -> Iterator[None]:
    """Tune leaves its own handlers behind, which would swallow the first Ctrl-C after the sweep."""
    handled = (signal.SIGINT, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in handled]
    try:
        yield
    finally:
        for number, handler in zip(handled, before, strict=True):
            signal.signal(number, handler)


def trial_resources(resources: Resources, cluster: Mapping[str, float]) -> dict[str, float]:
    """What one trial reserves: its GPU where the cluster has any, and no more cores than there are."""
    cpus = min(resources.cpus_per_trial, int(cluster.get("CPU", 1)))
    gpus = min(resources.gpus_per_trial, cluster.get("GPU", 0))
    return {"cpu": cpus, "gpu": gpus} if gpus else {"cpu": cpus}


def _trial_name(trial: Any) -> str:
    return str(trial.config["trial"])


class Recorder(tune.Callback):
    """Writes reports and ends of trials to the ledger, and passes them on to the searcher and the progress display."""

    def __init__(
        self, plan: Plan, ledger: Ledger, scheduler: CellScheduler, searcher: CellSearcher, progress: Progress
    ) -> None:
        self.plan = plan
        self.ledger = ledger
        self.scheduler = scheduler
        self.searcher = searcher
        self.progress = progress
        self.labels = Labels()
        self.tensorboard = TensorBoard(ledger.run, ledger)

    def __getstate__(self) -> dict[str, Any]:
        # Ray pickles its set-up for `Tuner.restore`, which the ledger makes superfluous.
        return {}

    def settle(self) -> None:
        """End the trials whose end was decided before an interruption, but not recorded."""
        for name, reports in list(self.ledger.reports.items()):
            last = reports[-1]
            if name in self.scheduler.stopped or last.get("end"):
                self._end(last["cell"], last["number"], last)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called by Ray."""
        self.labels.show(trial.config["trial"])
        self.progress.trial_begins(trial.config["trial"])

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Called by Ray for every report, after the scheduler has seen it."""
        config = trial.config
        report = {key: result[key] for key in REPORT_KEYS if key in result}
        if self.ledger.is_new(config["trial"], report["report"]):
            report["hyperparameters"] = config["hyperparameters"]
            row = self.ledger.record(config["trial"], Cell.parse(config["cell"]), config["number"], report)
            self.searcher.observe(row)
            self.labels.reported(row)
            self.tensorboard.reported(row)
            self.progress.reported(row)
        report["fault"] = result.get("fault")
        if report.get("end") or config["trial"] in self.scheduler.stopped:
            self._end(config["cell"], config["number"], report)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called by Ray when a trial's worker has died too often."""
        self._end(
            trial.config["cell"],
            trial.config["number"],
            {"end": "error", "fault": f"its worker died {WORKER_DEATHS + 1} times", "error": f"see {trial.error_file}"},
        )

    def _end(self, cell_id: str, number: int, report: Mapping[str, Any]) -> None:
        cell = Cell.parse(cell_id)
        name = cell.trial_name(number)
        if name in self.ledger.ended:
            return
        state = report.get("end") or "stopped"
        row = self.ledger.end(
            name,
            cell,
            number,
            self.searcher.hyperparameters(cell, number),
            state,
            reason=self._reason(name, state, report),
            error=report.get("error"),
        )
        self.searcher.conclude(row)
        self.labels.remove(name)
        self.tensorboard.ended(row)
        self.progress.trial_ended(row)

    def _reason(self, name: str, state: str, report: Mapping[str, Any]) -> str | None:
        if state == "error":
            return str(report["fault"])
        return self.scheduler.stopped.get(name) if state == "stopped" else REASONS.get(state)
