"""Columns that several tables of a report have."""

from collections.abc import Callable
from typing import Any

from raypeft.metrics.exact_match import KS
from raypeft.output import text as show
from raypeft.report.numbers.gather import Numbers
from raypeft.report.tables.table import Column
from raypeft.spec.plan import Cell, Plan
from raypeft.spec.resolve import PAPERS_POINT

INTERVALS = (
    "95 %: confidence interval over test items, by bootstrap (BCa, 10,000 draws, seed 42; exact where no item or every "
    "item matches)."
)


def tested_on(numbers: Numbers, heading: str = "Tested on", result: Callable[[Any], Any] = lambda row: row) -> Column:
    """The test set of a row's result, which readers see where cells are tested on other data sets than their own."""
    datasets = numbers.run.plan.resolved.datasets
    title = heading if any(row.test_set != row.cell.dataset for row in numbers.cells) else ""
    return Column("test_set", title, lambda row: result(row).test_set, lambda name: datasets[name].title)


def cell_names(plan: Plan, cell: Callable[[Any], Any]) -> list[Column]:
    """Model, data set and technique of the cell of a row."""
    resolved = plan.resolved
    return [
        Column("model", "Model", lambda row: cell(row).model, lambda name: resolved.models[name].title),
        Column("dataset", "Data set", lambda row: cell(row).dataset, lambda name: resolved.datasets[name].title),
        Column(
            "technique",
            "Technique",
            lambda row: cell(row).technique,
            lambda name: resolved.techniques[name].title,
            emphasised=True,
        ),
    ]


def bounds_of(numbers: Numbers, key: str, title: str = "") -> list[Column]:
    """The bounds of a metric's interval, and both in one column for readers where it has a title."""

    def of(row: Any) -> Any:
        return numbers.evidence.interval(row, key)

    bounds = [
        Column(f"{key}_low", "", lambda row: found.low if (found := of(row)) else None),
        Column(f"{key}_high", "", lambda row: found.high if (found := of(row)) else None),
    ]
    return [Column("", title, of, show.interval, numeric=True), *bounds] if title else bounds


def em_title(k: int) -> str:
    """Title of EM@k."""
    return f"EM@{k}"


def ks(numbers: Numbers) -> list[int]:
    """Every k of EM@k that the candidates suffice for."""
    return [k for k in KS if k <= numbers.k]


def point_text(numbers: Numbers, cell: Cell, values: Any) -> str:
    """Hyperparameters as a reader sees them, with the name of the point where it has one."""
    name = numbers.run.plan.resolved.point_name(cell.technique, values)
    return show.hyperparameters(values) + (f" ({name})" if name else "")


def is_papers(numbers: Numbers, cell: Cell, values: Any) -> bool | None:
    """Whether hyperparameters are the paper's point; none while there are none."""
    return numbers.run.plan.resolved.point_name(cell.technique, values) == PAPERS_POINT if values else None
