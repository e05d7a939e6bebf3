"""Trials of a run, ended and running, from its record."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from raypeft.runs.folder import Run
from raypeft.runs.reading import Fault
from raypeft.runs.records import Report, State, TrialEnd
from raypeft.spec.plan import Cell
from raypeft.spec.resolve import PAPERS_POINT, ResolvedStudy


@dataclass(frozen=True)
class Point:
    """One report of a trial: epochs trained and validation loss in nats a token."""

    report: int
    epoch: float
    loss: float


@dataclass(frozen=True)
class Trial:
    """One trial, as far as the record goes.

    Attributes:
        state: how it has ended, or `running` where no end is recorded.
        reason: why it ended, where there is more to say than its state.
        paper_point: whether its hyperparameters are the paper's; none while unknown.
        reports: number of the last report.
        best_loss: lowest validation loss, at report `best_report`.
        best_em: highest validation EM@10, in percent.
        error: traceback of a trial that failed.
        selected: number of the report whose checkpoint was selected, where this is the cell's selected trial.
        curve: the reports, ascending.
    """

    name: str
    cell: Cell
    number: int
    state: State
    reason: str | None
    hyperparameters: Mapping[str, Any]
    paper_point: bool | None
    reports: int
    best_report: int | None
    best_loss: float | None
    best_em: float | None
    training_seconds: float | None
    evaluation_seconds: float | None
    peak_memory_mib: float | None
    trainable_parameters: int | None
    error: str | None
    selected: int | None
    curve: tuple[Point, ...]


def read_trials(run: Run) -> list[Trial]:
    """Every trial that has begun, in the order of the plan's cells and of their numbers."""
    selected = {
        chosen.trial: chosen.checkpoint_report
        for cell in run.plan.cells
        if (chosen := run.selection(cell)) and chosen.trial is not None
    }
    # A trial that goes on after an interruption says its last report again; what was said last holds.
    reports: dict[str, dict[int, Report]] = {}
    for report in run.reports():
        reports.setdefault(report.trial, {})[report.report] = report
    ended = {end.trial: end for end in run.trials()}
    _note_lost(run, reports, ended)
    begun = dict.fromkeys([*reports, *ended])
    resolved = run.plan.resolved
    trials = [_trial(resolved, reports.get(name, {}), ended.get(name), selected.get(name)) for name in begun]
    order = {cell: index for index, cell in enumerate(run.plan.cells)}
    return sorted(trials, key=lambda trial: (order[trial.cell], trial.number))


def _note_lost(run: Run, reports: dict[str, dict[int, Report]], ended: dict[str, TrialEnd]) -> None:
    """Keep in mind that the ledger has lost reports of trials that have ended."""
    lost = [
        name
        for name, end in ended.items()
        if sum(one.validation_loss is not None for one in reports.get(name, {}).values()) < (end.reports or 0)
    ]
    if lost:
        listed = ", ".join(lost[:3]) + (", …" if len(lost) > 3 else "")
        what = f"has lost reports of {len(lost)} ended trials ({listed})"
        run.reading.faults.setdefault(run.reports_file, Fault(what, mendable=True))


def _trial(resolved: ResolvedStudy, reports: dict[int, Report], end: TrialEnd | None, selected: int | None) -> Trial:
    curve = tuple(
        Point(number, report.epoch, report.validation_loss)
        for number, report in sorted(reports.items())
        if report.validation_loss is not None and report.epoch is not None
    )
    said = end or reports[max(reports)]
    best = min(curve, key=lambda point: point.loss, default=None)
    best_em = max((report.em10 for report in reports.values() if report.em10 is not None), default=None)
    cell = Cell.parse(said.cell)
    point: dict[str, Any] = said.hyperparameters or {}
    return Trial(
        name=said.trial,
        cell=cell,
        number=said.number,
        state=end.state if end else State.RUNNING,
        reason=end.reason if end else None,
        hyperparameters=point,
        paper_point=resolved.point_name(cell.technique, point) == PAPERS_POINT if point else None,
        reports=max(reports, default=0),
        best_report=end.best_report if end else best.report if best else None,
        best_loss=end.best_loss if end else best.loss if best else None,
        best_em=end.best_em10 if end else best_em,
        training_seconds=said.training_seconds,
        evaluation_seconds=said.evaluation_seconds,
        peak_memory_mib=said.peak_memory_mib,
        trainable_parameters=said.trainable_parameters,
        error=said.error,
        selected=selected,
        curve=curve,
    )
