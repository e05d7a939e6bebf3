"""The table of differences: every comparison on the same test items, and whether its corrected test supports it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from raypeft.metrics.entries import PairedTest, compared_metrics, paired_test
from raypeft.output import text as show
from raypeft.report.numbers.cells import CellRow
from raypeft.report.numbers.contrasts import is_grouped, joint_contrasts, leaders
from raypeft.report.numbers.evidence import ALPHA, Comparison, Key, key_of
from raypeft.report.numbers.gather import Numbers
from raypeft.report.numbers.icl import IclRow
from raypeft.report.tables.columns import cell_names, tested_on
from raypeft.report.tables.table import Column, Table
from raypeft.spec.plan import Cell


@dataclass(frozen=True)
class _Row:
    """Two systems, compared in each metric."""

    of: Comparison
    metrics: Mapping[str, Comparison]


def difference_table(numbers: Numbers) -> Table:
    """One row two systems that were tested on the same items: cells, or a cell and a number of examples."""
    resolved, em = numbers.run.plan.resolved, f"EM@{numbers.k}"

    def second(row: _Row) -> str:
        other = row.of.second
        return f"icl-{other.examples}" if isinstance(other, IclRow) else other.cell.technique

    def second_title(row: _Row) -> str:
        """The second system, with its model and training data where they are not those of the first."""
        other, cell = row.of.second, row.of.first.cell
        if isinstance(other, IclRow):
            return f"ICL, {other.shots}"
        model, dataset = resolved.models[other.cell.model].title, resolved.datasets[other.cell.dataset].title
        return (
            numbers.technique(other)
            + (f" for {model}" if other.cell.model != cell.model else "")
            + (f" trained on {dataset}" if other.cell.dataset != cell.dataset else "")
        )

    columns = [
        *cell_names(numbers.run.plan, lambda row: row.of.first.cell)[:2],
        tested_on(numbers, "Test set", lambda row: row.of.first),
        Column("first", "", lambda row: row.of.first.cell.technique),
        Column("", "First", lambda row: numbers.technique(row.of.first), emphasised=True),
        Column("second", "", second),
        Column("second_model", "", lambda row: _cell_or_icl(row.of.second).model),
        Column("second_dataset", "", lambda row: _cell_or_icl(row.of.second).dataset),
        Column("", "Second", second_title, emphasised=True),
        *_columns(numbers.metric, em),
        *(column for key, one in compared_metrics().items() for column in _columns(key, one.heading)),
        Column("test_items", "", lambda row: row.of.items),
    ]
    family = sum(found.metric == numbers.metric for found in numbers.evidence.comparisons)
    several = any(len(pair.cells) > 1 for pair in numbers.pairs)
    compared = ["the techniques of a model and data set with each other"] if several else []
    compared += ["techniques with in-context learning (ICL)"] if numbers.icl else []
    compared += ["joint training with training on the test set's own data"] if joint_contrasts(numbers) else []
    kind = "groups of models" if is_grouped(numbers) else "models"
    compared += [f"the best cells of different {kind}, picked by these test items"] if leaders(numbers) else []
    against = (
        "Against in-context learning a difference has to show against every seed: the largest p, the median effect. "
        if numbers.icl
        else ""
    )
    caption = (
        f"Compared are {show.joined(compared) or 'no cells yet'}. First minus second, in points, on the same "
        "test items, with the 95 % interval of the paired bootstrap. "
        f"{em}: McNemar's exact test and matched odds ratio (half an item added to both sides where one is empty). "
        f"{_tests()}; the difference is of the whole test's score. {against}p: corrected by Holm for the "
        f"{show.count(family)} comparisons of the study in the metric. Bold: p below {ALPHA}, and what differs in {em}."
    )
    return Table(
        "differences", "Differences", columns, _rows(numbers), lambda row: _supported(row, numbers.metric), caption
    )


def _tests() -> str:
    """Which metrics are compared by which test of the items' scores."""
    titles: dict[PairedTest, list[str]] = {}
    for key, one in compared_metrics().items():
        titles.setdefault(paired_test(key), []).append(one.title)
    return "; ".join(
        f"{show.joined(names)}: {test.name} and {test.effect} of the items' own scores"
        for test, names in titles.items()
    )


def _cell_or_icl(row: CellRow | IclRow) -> Cell | IclRow:
    return row.cell if isinstance(row, CellRow) else row


def _rows(numbers: Numbers) -> list[_Row]:
    rows: dict[tuple[Key, Key], dict[str, Comparison]] = {}
    for found in numbers.evidence.comparisons:
        rows.setdefault((key_of(found.first), key_of(found.second)), {})[found.metric] = found
    return [_Row(next(iter(metrics.values())), metrics) for metrics in rows.values()]


def _supported(row: _Row, metric: str) -> bool:
    found = row.metrics.get(metric)
    return found is not None and found.supported


def _columns(metric: str, title: str) -> list[Column]:
    def of(value: Callable[[Comparison], Any]) -> Callable[[_Row], Any]:
        return lambda row: value(found) if (found := row.metrics.get(metric)) is not None else None

    return [
        Column(f"{metric}_difference", title, of(lambda found: found.difference), show.points, numeric=True),
        Column("", f"{title}, 95 %", of(lambda found: found.interval), show.interval, numeric=True),
        Column(f"{metric}_low", "", of(lambda found: found.interval and found.interval.low)),
        Column(f"{metric}_high", "", of(lambda found: found.interval and found.interval.high)),
        Column(f"{metric}_p", "", of(lambda found: found.p)),
        Column(
            f"{metric}_p_holm",
            f"{title}, p",
            of(lambda found: found.corrected),
            show.p_value,
            numeric=True,
            bold=lambda row: _supported(row, metric),
        ),
        Column(
            f"{metric}_effect",
            paired_test(metric).effect,
            of(lambda found: found.effect),
            lambda value: f"{value:.2f}",
            numeric=True,
        ),
    ]
