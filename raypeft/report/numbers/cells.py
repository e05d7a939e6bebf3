"""Results of cells."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from raypeft.metrics import flatten
from raypeft.output.text import counts, last_line
from raypeft.report.numbers.trials import Trial
from raypeft.runs.folder import Run
from raypeft.runs.records import Selection, State
from raypeft.spec.plan import Cell

Metrics = Mapping[str, float | None]


@dataclass(frozen=True)
class CellRow:
    """One cell's result on one test set.

    Attributes:
        test_set: the data set it is tested on: the cell's own, or one of those that a joint one joins.
        state: `tested`, `test failed`, `no usable trial`, `damaged`, `selected`, `searching` or `not begun`.
        note: why numbers are missing; for a tested cell what is damaged, or the run it was taken over from, if any.
        error: traceback of a failed test.
        selection: what was selected; without a trial where nothing was.
        metrics: `em@k` and those of `METRICS`, of the test, in percent.
        items: test items.
        trials: number of trials by state.
        against_icl: points of EM@k above the best number of examples in the prompt.
        best: whether no technique of the same model, data set and test set has a higher EM@k.
    """

    cell: Cell
    test_set: str
    state: str
    note: str | None
    error: str | None
    selection: Selection
    metrics: Metrics
    items: int | None
    test_seconds: float | None
    trials: Mapping[str, int]
    against_icl: float | None = None
    best: bool = False

    @property
    def name(self) -> str:
        """The cell's id, with the test set where a cell has several."""
        return self.cell.id + ("" if self.test_set == self.cell.dataset else f" on {self.test_set}")


def read_cells(run: Run, trials: Sequence[Trial], metric: str, icl: Mapping[tuple[str, str], float]) -> list[CellRow]:
    """A row for every cell of the plan and each of its test sets, with or without a result.

    Args:
        run: the run folder.
        trials: its trials.
        metric: key of the metric that cells are compared by.
        icl: that metric of each (model, data set)'s best number of examples.
    """
    states: dict[Cell, Counter[str]] = {cell: Counter() for cell in run.plan.cells}
    for trial in trials:
        states[trial.cell][trial.state] += 1
    rows = []
    for cell, dataset in run.plan.test_jobs:
        row = _cell_row(run, cell, dataset, states[cell])
        own, other = row.metrics.get(metric), icl.get((cell.model, dataset))
        rows.append(replace(row, against_icl=own - other if own is not None and other is not None else None))
    return _mark_best(rows, metric)


def _cell_row(run: Run, cell: Cell, dataset: str, trials: Counter[str]) -> CellRow:
    selection, test = run.selection(cell), run.test(cell, dataset)
    failure = run.failure(run.test_file(cell, dataset))
    damage = _damage(run, run.selection_file(cell), run.test_file(cell, dataset))
    planned, ended = run.plan.resolved.study.trials, trials.total() - trials[State.RUNNING]
    note: str | None = None
    if test:
        state = "tested"
        note = damage or (f"taken over from {origin}" if (origin := selection.origin if selection else None) else None)
    elif damage:
        state, note = "damaged", damage
    elif selection and selection.trial is None:
        state, note = "no usable trial", selection.why
    elif failure:
        state, note = "test failed", last_line(failure.error)
    elif selection:
        state, note = "selected", "not tested yet"
    elif trials:
        state, note = "searching", f"{ended} of {planned} trials ended ({counts(trials)})"
    else:
        state, note = "not begun", "no trial has reported yet"
    return CellRow(
        cell=cell,
        test_set=dataset,
        state=state,
        note=note,
        error=failure.error if failure and not test else None,
        selection=selection or Selection(trial=None),
        metrics=flatten(test.metrics) if test else {},
        items=test.items if test else None,
        test_seconds=test.seconds if test else None,
        trials=trials,
    )


def _damage(run: Run, *files: Path) -> str | None:
    """What is wrong with files of a cell, where anything is."""
    found = [f"{file.name}: {fault.what}" for file in files if (fault := run.reading.faults.get(file))]
    return "; ".join(found) or None


def _mark_best(rows: list[CellRow], metric: str) -> list[CellRow]:
    top: dict[tuple[str, str, str], float] = {}
    for row in rows:
        if (value := row.metrics.get(metric)) is not None:
            top[_group(row)] = max(value, top.get(_group(row), value))
    return [replace(row, best=row.metrics.get(metric) == top.get(_group(row), float("nan"))) for row in rows]


def _group(row: CellRow) -> tuple[str, str, str]:
    return row.cell.model, row.cell.dataset, row.test_set
