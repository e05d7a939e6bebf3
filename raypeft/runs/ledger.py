"""The record of a sweep: which reports have arrived and which trials have ended, on disk before anything acts on it."""

import time
from collections import defaultdict
from typing import Any

from raypeft.runs.checkpoints import rank_key
from raypeft.runs.folder import Run
from raypeft.runs.reading import append_record
from raypeft.runs.records import FORMAT, Costs, Message, Report, State, TrialEnd
from raypeft.spec.plan import Cell, Plan
from raypeft.spec.resolve import PAPERS_POINT

UNSAID = {"fault", "notice", "transient"}  # of a message, in the end of a trial or an event


class Ledger:
    """Reports and ended trials of a run, in memory and appended to `reports.jsonl` and `trials.jsonl`.

    Only the driver writes here. A report that a resumed trial gives once more is recognised and not recorded again.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.select_by = run.plan.resolved.study.validation.select_by
        self.history: list[Report] = []
        self.reports: dict[str, list[Report]] = defaultdict(list)
        self.ended: dict[str, TrialEnd] = {end.trial: end for end in run.trials()}
        self.notices: dict[str, list[str]] = defaultdict(list)
        for event in run.events():
            if event.trial is not None:
                self.notices[event.trial].append(event.text)
        for report in run.reports():
            self.history.append(report)
            self.reports[report.trial].append(report)

    def of(self, cell: Cell) -> list[TrialEnd]:
        """Ended trials of a cell."""
        return [end for end in self.ended.values() if end.cell == cell.id]

    def note(self, trial: str, text: str) -> None:
        """Record something that happened to a trial."""
        self.run.note(text, trial=trial)
        self.notices[trial].append(text)

    def is_new(self, trial: str, report: int) -> bool:
        """Whether this report of a trial has not been recorded yet; a trial that ends without one gives -1."""
        recorded = self.reports.get(trial)
        return report > (recorded[-1].report if recorded else -1)

    def record(self, trial: str, cell: Cell, number: int, message: Message, hyperparameters: dict[str, Any]) -> Report:
        """Record a report, durable when this returns."""
        kept = message.model_fields_set - UNSAID
        said = {name: value for name, value in message if name in kept}
        report = Report(
            format=FORMAT,
            trial=trial,
            cell=cell.id,
            number=number,
            hyperparameters=hyperparameters,
            time=time.time(),
            **said,
        )
        append_record(self.run.reports_file, report)
        self.history.append(report)
        self.reports[trial].append(report)
        return report

    def end(
        self,
        trial: str,
        cell: Cell,
        number: int,
        hyperparameters: dict[str, Any],
        state: State,
        reason: str | None = None,
        error: str | None = None,
        transient: bool = False,
    ) -> TrialEnd:
        """Record the end of a trial, once."""
        if trial in self.ended:
            return self.ended[trial]
        reports = [report for report in self.reports.get(trial, []) if report.validation_loss is not None]
        best = min(reports, key=lambda report: rank_key(report, self.select_by), default=None)
        more: dict[str, Any] = {"transient": True} if transient else {}
        if notices := self.notices.get(trial):
            more["notices"] = notices
        end = TrialEnd(
            trial=trial,
            cell=cell.id,
            number=number,
            state=state,
            reason=reason,
            hyperparameters=hyperparameters,
            paper_point=self.run.plan.resolved.point_name(cell.technique, hyperparameters) == PAPERS_POINT,
            reports=len(reports),
            best_report=best.report if best else None,
            best_loss=best.validation_loss if best else None,
            best_em10=best.em10 if best else None,
            **costs_of(reports[-1] if reports else None),
            error=error,
            time=time.time(),
            **more,
        )
        self.ended[trial] = append_record(self.run.trials_file, end)
        return self.ended[trial]


def costs_of(record: Costs | None) -> dict[str, Any]:
    """What a record says of costs, by field; all none without one."""
    return {name: getattr(record, name, None) for name in Costs.model_fields}


def remaining(plan: Plan, ledger: Ledger) -> list[tuple[Cell, int]]:
    """Trials that have not ended, in the order they are to run: those begun first, then in rounds.

    Rounds take one trial of every cell of a base before the next, so that a cell's sampler has seen results when it
    is asked again, and workers keep their base: a model, quantised in one way.
    """
    ordered = [
        (cell, number)
        for base in dict.fromkeys(map(plan.base, plan.cells))
        for number in range(plan.resolved.study.trials)
        for cell in plan.cells
        if plan.base(cell) == base and cell.trial_name(number) not in ledger.ended
    ]
    return sorted(ordered, key=lambda pair: not ledger.reports.get(pair[0].trial_name(pair[1])))
