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


def memory_table(numbers: Numbers) -> Table:
    """One row a cell with a selected trial: its peaks of memory, and the batches that they are of."""
    rows = [row for row in numbers.searched if row.selection.trial]
    study = numbers.run.plan.resolved.study
    training = study.training
    asked = (training.micro_batch or training.batch, training.gradient_checkpointing, study.test.decode_batch)

    def of(name: str, title: str, text: Callable[[Any], str] = str) -> Column:
        return Column(name, title, lambda row: getattr(row.selection, name), text, numeric=True)

    def as_asked(row: CellRow) -> bool:
        chosen = row.selection
        return (chosen.micro_batch, bool(chosen.gradient_checkpointing), chosen.decode_batch) == asked

    reserved = any(row.selection.training_reserved_mib is not None for row in rows)
    columns = [
        *cell_names(numbers.run.plan, lambda row: row.cell),
        of("training_memory_mib", "Training, MiB", show.mebibytes),
        of("training_reserved_mib", "reserved" if reserved else "", show.mebibytes),
        of("micro_batch", "Micro-batch"),
        of("gradient_checkpointing", "Checkpointing", lambda value: "yes" if value else "no"),
        of("decoding_memory_mib", "Decoding, MiB", show.mebibytes),
        of("decoding_reserved_mib", "reserved" if reserved else "", show.mebibytes),
        of("decode_batch", "Decode batch"),
        Column("beams", "Beams", lambda row: study.test.beams, numeric=True),
        Column("equal", "As asked", as_asked, lambda value: "yes" if value else "no"),
    ]
    caption = (
        "Peaks of the selected trial: on a GPU what torch allocated, and in reserved what it had taken from the card; "
        "on a CPU the resident memory of the process. Micro-batch and decode batch: items at once in training and in "
        "decoding, where each item has as many rows as there are beams. As asked: as the study says; peaks compare "
        "between such rows, since a trial that ran out of memory went on with less at once."
    )
    return Table("memory", "Memory", columns, rows, lambda row: False, caption)
