"""Tables of cells and of trials."""

from collections.abc import Callable
from typing import Any

from raypeft.metrics.entries import METRICS, compared_metrics
from raypeft.output import text as show
from raypeft.report.numbers.cells import CellRow
from raypeft.report.numbers.gather import Numbers
from raypeft.report.numbers.trials import Trial
from raypeft.report.tables.columns import (
    INTERVALS,
    bounds_of,
    cell_names,
    em_title,
    is_papers,
    ks,
    point_text,
    tested_on,
)
from raypeft.report.tables.table import Column, Table


def cell_table(numbers: Numbers) -> Table:
    """One row a cell and test set: what was selected, and its test."""

    def selected(key: str) -> Callable[[CellRow], Any]:
        return lambda row: getattr(row.selection, key)

    def metric(key: str, title: str, text: Callable[[float], str] = show.percent) -> Column:
        best = key == numbers.metric
        return Column(key, title, lambda row: row.metrics.get(key), text, numeric=True, emphasised=best)

    def chosen(row: CellRow) -> str | None:
        return point_text(numbers, row.cell, row.selection.point) if row.selection.trial else None

    columns = [
        *cell_names(numbers.run.plan, lambda row: row.cell),
        tested_on(numbers),
        metric(numbers.metric, em_title(numbers.k)),
        *bounds_of(numbers, numbers.metric, f"{em_title(numbers.k)}, 95 %"),
        Column("above_icl", "Above ICL" if numbers.icl else "", lambda row: row.against_icl, show.points, numeric=True),
        *(metric(f"em@{k}", em_title(k) if k == 1 else "") for k in ks(numbers) if k != numbers.k),
        *(column for k in ks(numbers) if k != numbers.k for column in bounds_of(numbers, f"em@{k}")),
        *(metric(f"em_ast@{k}", "") for k in ks(numbers)),
        *(column for k in ks(numbers) for column in bounds_of(numbers, f"em_ast@{k}")),
        *(
            column
            for key, one in METRICS.items()
            for column in (
                metric(key, one.heading, one.text),
                *bounds_of(numbers, key, f"{one.heading}, 95 %" if one.test else ""),
            )
        ),
        Column("validation_loss", "Validation loss", selected("validation_loss"), show.loss, numeric=True),
        Column("validation_em@10", "", selected("em10")),
        Column("hyperparameters", "", selected("hyperparameters")),
        Column("paper_point", "", lambda row: is_papers(numbers, row.cell, row.selection.hyperparameters)),
        Column("", "Selected hyperparameters", chosen, long=True),
        Column("trainable_parameters", "Trainable", selected("trainable_parameters"), show.count, numeric=True),
        Column("parameters", "", selected("parameters")),
        Column("training_seconds", "Training, s", selected("training_seconds"), show.seconds, numeric=True),
        Column("peak_memory_mib", "Memory, MiB", selected("peak_memory_mib"), show.mebibytes, numeric=True),
        Column("trial", "", selected("trial")),
        Column("checkpoint_report", "", selected("checkpoint_report")),
        Column("trials", "Trials", lambda row: row.trials or None, show.counts),
        Column("test_items", "", lambda row: row.items),
        Column("test_seconds", "", lambda row: row.test_seconds),
        Column("best", "", lambda row: row.best),
        Column("", "Result", lambda row: f"{row.state}: {row.note}" if row.note else row.state, long=True),
        Column("state", "", lambda row: row.state),
        Column("note", "", lambda row: row.note),
    ]
    em = em_title(numbers.k)
    above = f"Above ICL: points of {em} above the best number of examples in the prompt. " if numbers.icl else ""
    compared = [one.title for one in compared_metrics().values()]
    notes = "".join(f"; {one.heading}: {one.note}" for one in METRICS.values() if one.note)
    caption = (
        f"{show.joined([em, em_title(1), *compared])} in percent, on the test items{notes}. {above}Validation loss in "
        "nats a token. Trainable: parameters. Training time and memory (its peak) are of the selected trial. "
        f"Bold: highest of its model, data set and test set. {INTERVALS}"
    )
    return Table("cells", "Cells", columns, numbers.cells, lambda row: row.best, caption)


def trial_table(numbers: Numbers) -> Table:
    """One row a trial that has begun."""

    def point(row: Trial) -> str | None:
        return point_text(numbers, row.cell, row.hyperparameters) if row.hyperparameters else None

    columns = [
        *cell_names(numbers.run.plan, lambda row: row.cell),
        Column("number", "Trial", lambda row: row.number, numeric=True, emphasised=True),
        Column("", "Hyperparameters", point, long=True),
        Column("hyperparameters", "", lambda row: row.hyperparameters),
        Column("paper_point", "", lambda row: is_papers(numbers, row.cell, row.hyperparameters)),
        Column("state", "State", lambda row: row.state),
        Column("reason", "Reason", lambda row: row.reason, long=True),
        Column("reports", "Reports", lambda row: row.reports, numeric=True),
        Column("best_loss", "Best loss", lambda row: row.best_loss, show.loss, numeric=True, emphasised=True),
        Column("best_report", "at report", lambda row: row.best_report, numeric=True),
        Column("best_em@10", "Best EM@10", lambda row: row.best_em, show.percent, numeric=True),
        Column("training_seconds", "Training, s", lambda row: row.training_seconds, show.seconds, numeric=True),
        Column("evaluation_seconds", "Evaluation, s", lambda row: row.evaluation_seconds, show.seconds, numeric=True),
        Column("peak_memory_mib", "Memory, MiB", lambda row: row.peak_memory_mib, show.mebibytes, numeric=True),
        Column("trainable_parameters", "", lambda row: row.trainable_parameters),
        Column("selected", "", lambda row: row.selected is not None),
        Column("trial", "", lambda row: row.name),
    ]
    begun, planned = len(numbers.trials), numbers.run.plan.trials
    caption = (
        f"{begun} of {planned} planned trials have begun; one that is running, or was interrupted, has no end yet. "
        "Best loss and EM@10 are of the validation items, loss in nats a token. Bold: the selected trial of its cell."
    )
    return Table("trials", "Trials", columns, numbers.trials, lambda row: row.selected is not None, caption)
