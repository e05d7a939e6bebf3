"""Early stopping inside each cell: one ASHA a cell under one Ray Tune scheduler."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from raypeft.runs.records import Measured, Message, Report
from raypeft.spec.plan import Plan
from raypeft.sweep.objective import objective_of


@dataclass(frozen=True)
class Named:
    """Stands for a Ray trial inside ASHA, known by the name that outlives the process."""

    trial_id: str


class CellScheduler(FIFOScheduler):
    """Hands each report to the ASHA of the trial's cell (`ray.tune.schedulers.ASHAScheduler`).

    What a study selects by, validation loss or EM@10, is compared only inside a cell. A trial's configuration names its
    cell. Trials start in the order the searcher suggests them.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self.objective = objective_of(plan.resolved.study)
        self._cells: dict[str, ASHAScheduler] = {}
        self._seen: dict[str, int] = {}
        self.stopped: dict[str, str] = {}
        self.halted = False

    def replay(self, reports: Iterable[Report]) -> None:
        """Rebuild every cell's rungs from recorded reports, in the order they arrived.

        Ray does not save them. A decision to stop that was not carried out is in `stopped` afterwards.
        """
        for report in reports:
            self.decide(report.cell, report.trial, report)

    def decide(self, cell: str, trial: str, report: Measured) -> str:
        """What becomes of a trial after a report: CONTINUE or STOP. A report seen before changes nothing."""
        if report.end:
            return str(TrialScheduler.STOP)
        if report.report <= self._seen.get(trial, -1):
            return str(TrialScheduler.STOP if trial in self.stopped else TrialScheduler.CONTINUE)
        asha, named = self._asha(cell), Named(trial)
        if asha is None:
            self._seen[trial] = report.report
            return str(TrialScheduler.CONTINUE)
        if trial not in self._seen:
            asha.on_trial_add(None, named)
        self._seen[trial] = report.report
        said = {"report": report.report, "validation_loss": report.validation_loss, "em@10": report.em10}
        decision = str(asha.on_trial_result(None, named, said))
        if decision == TrialScheduler.STOP:
            self.stopped[trial] = (
                f"ASHA at report {report.report}: {self.objective.said(report)} was not among the best of its cell"
            )
        return decision

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Called by Ray for every report of a trial."""
        return self.decide(trial.config["cell"], trial.config["trial"], Message.received(result))

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Called by Ray; none any more once the sweep is halted."""
        return None if self.halted else super().choose_trial_to_run(tune_controller)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the rungs follow from `reports.jsonl`."""

    def _asha(self, cell: str) -> ASHAScheduler | None:
        stopping = self.plan.resolved.study.stopping
        if stopping is None:
            return None
        if cell not in self._cells:
            self._cells[cell] = ASHAScheduler(
                time_attr="report",
                metric=self.objective.metric,
                mode=self.objective.mode,
                max_t=self.plan.reports,
                grace_period=stopping.grace,
                reduction_factor=stopping.factor,
            )
        return self._cells[cell]
