"""Every number of a report, computed once from the run folder and shown by pages, tables and figures alike."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from raypeft.metrics.exact_match import KS
from raypeft.report.numbers.cells import CellRow, read_cells
from raypeft.report.numbers.evidence import Evidence
from raypeft.report.numbers.icl import IclRow, read_icl
from raypeft.report.numbers.trials import Trial, read_trials
from raypeft.runs.folder import Run
from raypeft.spec.plan import Cell


@dataclass(frozen=True)
class Pair:
    """One model on one data set, tested on one: its techniques beside its in-context learning on that test set.

    Attributes:
        left_out: why the study leaves its in-context learning out, where it does.
    """

    model: str
    dataset: str
    test_set: str
    cells: Sequence[CellRow]
    icl: Sequence[IclRow]
    metric: str
    left_out: str | None = None

    @property
    def best(self) -> list[CellRow]:
        """The best techniques: several where they tie, none while nothing is tested."""
        return [row for row in self.cells if row.best]

    @property
    def measured(self) -> list[CellRow]:
        """Techniques that have a value of the metric."""
        return [row for row in self.cells if row.metrics.get(self.metric) is not None]

    @property
    def best_icl(self) -> IclRow | None:
        """The best number of examples."""
        return next((row for row in self.icl if row.best), None)

    @property
    def difference(self) -> float | None:
        """Points of EM@k of the best technique above the best number of examples."""
        return self.best[0].against_icl if self.best else None

    @property
    def note(self) -> str | None:
        """Why numbers are missing; none where both sides have all their results."""
        untested = sum(row.state != "tested" for row in self.cells)
        missing = sum(row.planned - row.done for row in self.icl)
        notes = []
        if untested:
            notes.append(f"{untested} of {len(self.cells)} techniques without a test result")
        if self.left_out:
            notes.append(f"no in-context learning planned: {self.left_out}")
        elif missing:
            notes.append(f"{missing} of {sum(row.planned for row in self.icl)} ICL runs without a result")
        return "; ".join(notes) or None

    @property
    def items(self) -> int | None:
        """Test items."""
        sizes = [row.items for row in self.cells] + [row.items for row in self.icl]
        return next((size for size in sizes if size), None)


@dataclass(frozen=True)
class Numbers:
    """All numbers of a run.

    Attributes:
        k: the EM@k that comparisons go by: 10, or fewer where fewer candidates are kept.
        last_record: unix seconds of the sweep's newest record.
        evidence: what the numbers support; empty until `raypeft.report.numbers.weighing` has read the tests' items.
    """

    run: Run
    k: int
    cells: Sequence[CellRow]
    icl: Sequence[IclRow]
    trials: Sequence[Trial]
    last_record: float | None
    evidence: Evidence = field(default_factory=Evidence)

    @property
    def metric(self) -> str:
        """Key of the metric that comparisons go by."""
        return f"em@{self.k}"

    @cached_property
    def measured(self) -> list[CellRow]:
        """Rows that have a value of the metric."""
        return [row for row in self.cells if row.metrics.get(self.metric) is not None]

    @cached_property
    def searched(self) -> list[CellRow]:
        """One row a cell, for what does not depend on the test set."""
        return list({row.cell: row for row in reversed(self.cells)}.values())[::-1]

    @cached_property
    def states(self) -> dict[Cell, str]:
        """State of each cell: tested once it is on all its test sets."""
        states = {row.cell: row.state for row in self.searched}
        return states | {row.cell: row.state for row in self.cells if row.state != "tested"}

    @property
    def tested(self) -> int:
        """Cells that are tested on all their test sets."""
        return list(self.states.values()).count("tested")

    @cached_property
    def pairs(self) -> list[Pair]:
        """Models x data sets x test sets in the order of the plan."""
        icl = self.run.plan.resolved.study.icl
        groups: dict[tuple[str, str, str], list[CellRow]] = {}
        for row in self.cells:
            groups.setdefault((row.cell.model, row.cell.dataset, row.test_set), []).append(row)
        return [
            Pair(
                model,
                dataset,
                test_set,
                rows,
                [row for row in self.icl if (row.model, row.dataset) == (model, test_set)],
                self.metric,
                left_out=icl.skipped(model, test_set) if icl else None,
            )
            for (model, dataset, test_set), rows in groups.items()
        ]

    def title(self, model: str, dataset: str, test_set: str | None = None) -> str:
        """A model on a data set, by their titles, with the test set where that is another one."""
        resolved = self.run.plan.resolved
        title = f"{resolved.models[model].title} on {resolved.datasets[dataset].title}"
        return title if test_set in (None, dataset) else f"{title}, tested on {resolved.datasets[test_set].title}"

    def technique(self, row: CellRow) -> str:
        """Title of a cell's technique."""
        return self.run.plan.resolved.techniques[row.cell.technique].title

    def trials_of(self, cell: Cell) -> list[Trial]:
        """Trials of a cell that have begun."""
        return [trial for trial in self.trials if trial.cell == cell]


def gather(run: Run) -> Numbers:
    """Read a run folder, however far the run has come."""
    k = max((k for k in KS if k <= run.plan.resolved.study.test.candidates), default=1)
    metric = f"em@{k}"
    trials = read_trials(run)
    icl = read_icl(run, metric)
    cells = read_cells(
        run, trials, metric, {(row.model, row.dataset): row.metrics[metric].mean for row in icl if row.best}
    )
    times = [report.time for report in run.reports()] + [end.time for end in run.trials()]
    last_record = max((time for time in times if time is not None), default=None)
    return Numbers(run, k, cells, icl, trials, last_record)
