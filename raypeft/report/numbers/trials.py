"""Trials of a run, ended and running, from its record."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from raypeft.runs.folder import Run
from raypeft.runs.reading import Fault
from raypeft.runs.records import State
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
        chosen["trial"]: chosen["checkpoint_report"]
        for cell in run.plan.cells
        if (chosen := run.selection(cell)) and chosen["trial"] is not None
    }
    # A trial that goes on after an interruption says its last report again; what was said last holds.
    reports: dict[str, dict[int, dict[str, Any]]] = {}
    for row in run.reports():
        reports.setdefault(row["trial"], {})[row["report"]] = row
    ended = {row["trial"]: row for row in run.trials()}
    _note_lost(run, reports, ended)
    begun = dict.fromkeys([*reports, *ended])
    resolved = run.plan.resolved
    trials = [_trial(resolved, name, reports.get(name, {}), ended.get(name), selected.get(name)) for name in begun]
    order = {cell: index for index, cell in enumerate(run.plan.cells)}
    return sorted(trials, key=lambda trial: (order[trial.cell], trial.number))


def _note_lost(run: Run, reports: dict[str, dict[int, dict[str, Any]]], ended: dict[str, dict[str, Any]]) -> None:
    """Keep in mind that the ledger has lost reports of trials that have ended."""
    lost = [
        name
        for name, row in ended.items()
        if sum(one["validation_loss"] is not None for one in reports.get(name, {}).values()) < (row["reports"] or 0)
    ]
    if lost:
        listed = ", ".join(lost[:3]) + (", …" if len(lost) > 3 else "")
        what = f"has lost reports of {len(lost)} ended trials ({listed})"
        run.reading.faults.setdefault(run.reports_file, Fault(what, mendable=True))


def _trial(
    resolved: ResolvedStudy,
    name: str,
    reports: dict[int, dict[str, Any]],
    end: dict[str, Any] | None,
    selected: int | None,
) -> Trial:
    curve = tuple(
        Point(number, row["epoch"], row["validation_loss"])
        for number, row in sorted(reports.items())
        if row["validation_loss"] is not None and "epoch" in row
    )
    row = end or _so_far(reports, curve)
    cell, point = Cell.parse(row["cell"]), row.get("hyperparameters", {})
    return Trial(
        name=name,
        cell=cell,
        number=row["number"],
        state=State(row["state"]),
        reason=row["reason"],
        hyperparameters=point or {},
        paper_point=resolved.point_name(cell.technique, point) == PAPERS_POINT if point else None,
        reports=max(reports, default=0),
        best_report=row["best_report"],
        best_loss=row["best_loss"],
        best_em=row["best_em@10"],
        training_seconds=row.get("training_seconds"),
        evaluation_seconds=row.get("evaluation_seconds"),
        peak_memory_mib=row.get("peak_memory_mib"),
        trainable_parameters=row.get("trainable_parameters"),
        error=row.get("error"),
        selected=selected,
        curve=curve,
    )


def _so_far(reports: dict[int, dict[str, Any]], curve: tuple[Point, ...]) -> dict[str, Any]:
    last = reports[max(reports)]
    best = min(curve, key=lambda point: point.loss, default=None)
    measured = [row["em@10"] for row in reports.values() if row.get("em@10") is not None]
    return {
        **last,
        "state": State.RUNNING,
        "reason": None,
        "best_report": best.report if best else None,
        "best_loss": best.loss if best else None,
        "best_em@10": max(measured, default=None),
    }
