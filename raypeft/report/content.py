"""What stands in the tables of a report: cells, tuning against in-context learning, in-context learning, trials."""

from collections.abc import Callable
from typing import Any

from raypeft.metrics.exact_match import KS
from raypeft.report import formatting as show
from raypeft.report.cells import CellRow
from raypeft.report.icl import IclRow
from raypeft.report.metrics import Spread
from raypeft.report.numbers import Numbers, Pair
from raypeft.report.tables import Column, Table
from raypeft.report.trials import Trial
from raypeft.spec.plan import Plan

CODEBLEU = (("codebleu", "CodeBLEU"), ("codebleu_flat", "flat"))
INTERVALS = (
    "95 %: confidence interval over test items, by bootstrap (BCa, 10,000 draws, seed 42; exact where no item or every "
    "item matches)."
)


def cell_table(numbers: Numbers) -> Table:
    """One row a cell and test set: what was selected, and its test."""

    def selected(key: str) -> Callable[[CellRow], Any]:
        return lambda row: row.selection.get(key)

    def metric(key: str, title: str) -> Column:
        best = key == numbers.metric
        return Column(key, title, lambda row: row.metrics.get(key), show.percent, numeric=True, emphasised=best)

    def chosen(row: CellRow) -> str | None:
        return _point(row.selection["hyperparameters"], row.selection["paper_point"]) if row.selection else None

    columns = [
        *_names(numbers.run.plan, lambda row: row.cell),
        _test_set(numbers),
        metric(numbers.metric, _em(numbers.k)),
        *_interval(numbers, numbers.metric, f"{_em(numbers.k)}, 95 %"),
        Column("above_icl", "Above ICL" if numbers.icl else "", lambda row: row.against_icl, show.points, numeric=True),
        *(metric(f"em@{k}", _em(k) if k == 1 else "") for k in _ks(numbers) if k != numbers.k),
        *(column for k in _ks(numbers) if k != numbers.k for column in _interval(numbers, f"em@{k}")),
        *(metric(f"em_ast@{k}", "") for k in _ks(numbers)),
        *(column for k in _ks(numbers) for column in _interval(numbers, f"em_ast@{k}")),
        metric("codebleu", "CodeBLEU"),
        *_interval(numbers, "codebleu", "CodeBLEU, 95 %"),
        metric("codebleu_flat", "flat"),
        *_interval(numbers, "codebleu_flat"),
        metric("chrf", ""),
        *_interval(numbers, "chrf"),
        Column("validation_loss", "Validation loss", selected("validation_loss"), show.loss, numeric=True),
        Column("validation_em@10", "", selected("em@10")),
        Column("hyperparameters", "", selected("hyperparameters")),
        Column("paper_point", "", selected("paper_point")),
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
    above = f"Above ICL: points of {_em(numbers.k)} above the best number of examples in the prompt. "
    above = above if numbers.icl else ""
    caption = (
        f"{_em(numbers.k)}, {_em(1)} and CodeBLEU in percent, on the test items; flat: on code put on one line, as in "
        f"the paper. {above}Validation loss in nats a token. Trainable: parameters. Training time and memory (its "
        "peak) are of the selected trial. Bold: highest of its model, data set and test set. "
        f"{INTERVALS}"
    )
    return Table("cells", "Cells", columns, numbers.cells, lambda row: row.best, caption)


def comparison_table(numbers: Numbers) -> Table:
    """One row a model, data set and test set: the best technique beside the best number of examples."""
    resolved, em = numbers.run.plan.resolved, _em(numbers.k)

    def titles(pair: Pair) -> str:
        return show.joined([numbers.technique(row) for row in pair.best])

    def best(pair: Pair) -> float | None:
        return pair.best[0].metrics.get(numbers.metric) if pair.best else None

    def icl(pair: Pair) -> Spread | None:
        return pair.best_icl.metrics[numbers.metric] if pair.best_icl else None

    def examples(pair: Pair) -> int | None:
        return pair.best_icl.examples if pair.best_icl else None

    def beside(title: str) -> str:
        return title if numbers.icl else ""

    columns = [
        Column("model", "Model", lambda row: row.model, lambda name: resolved.models[name].title),
        Column("dataset", "Data set", lambda row: row.dataset, lambda name: resolved.datasets[name].title),
        _test_set(numbers),
        Column("technique", "", lambda row: "; ".join(best.cell.technique for best in row.best) or None),
        Column("", "Best technique", lambda row: titles(row) or None, emphasised=True),
        Column(numbers.metric, em, best, show.percent, numeric=True, emphasised=True),
        Column("icl_examples", beside("Best ICL, examples"), examples, numeric=True),
        *([Column("", f"ICL {em}", icl, _spread, numeric=True)] if numbers.icl else []),
        Column(f"icl_{numbers.metric}_mean", "", lambda row: _mean(icl(row))),
        Column(f"icl_{numbers.metric}_sd", "", lambda row: _sd(icl(row))),
        Column("difference", beside("Difference, points"), lambda row: row.difference, show.points, numeric=True),
        Column("test_items", "Test items", lambda row: row.items, show.count, numeric=True),
        Column("note", "Note" if any(pair.note for pair in numbers.pairs) else "", lambda row: row.note, long=True),
    ]
    caption = (
        f"{em} in percent on the test items; in-context learning (ICL) as mean ± sample standard deviation over seeds. "
        "The best technique and the best number of examples are picked by these same test items, which favours both. "
        if numbers.icl
        else f"{em} in percent on the test items, by which the best technique is picked. "
    ) + "Whether a difference is more than chance stands in the table of differences."
    title = "Tuning beside in-context learning" if numbers.icl else "Best techniques"
    return Table("comparison", title, columns, numbers.pairs, lambda row: bool(row.best), caption)


def icl_table(numbers: Numbers) -> Table:
    """One row a model, data set and number of examples: mean and standard deviation over seeds."""
    resolved = numbers.run.plan.resolved

    def metric(key: str, title: str) -> list[Column]:
        def of(row: IclRow) -> Spread | None:
            return row.metrics.get(key)

        return [
            Column("", title, of, _spread, numeric=True, emphasised=key == numbers.metric),
            *_interval(numbers, key, f"{title}, 95 %" if key == numbers.metric else ""),
            Column(f"{key}_mean", "", lambda row: _mean(of(row))),
            Column(f"{key}_sd", "", lambda row: _sd(of(row))),
            Column(f"{key}_by_run", "", lambda row: spread.values if (spread := of(row)) else None),
        ]

    columns = [
        Column("model", "Model", lambda row: row.model, lambda name: resolved.models[name].title),
        Column("dataset", "Data set", lambda row: row.dataset, lambda name: resolved.datasets[name].title),
        Column("examples", "Examples", lambda row: row.examples, show.count, numeric=True, emphasised=True),
        *metric(numbers.metric, _em(numbers.k)),
        *(column for k in _ks(numbers) if k != numbers.k for column in metric(f"em@{k}", _em(k) if k == 1 else "")),
        *(column for key, title in CODEBLEU for column in metric(key, title)),
        Column("", "Runs", lambda row: f"{row.done} of {row.planned}", numeric=True),
        Column("runs", "", lambda row: row.done),
        Column("planned_runs", "", lambda row: row.planned),
        Column("seconds", "Seconds a run", lambda row: row.seconds, show.seconds, numeric=True),
        Column("peak_memory_mib", "Memory, MiB", lambda row: row.peak_memory_mib, show.mebibytes, numeric=True),
        Column("best", "", lambda row: row.best),
        Column("note", "Note" if any(row.note for row in numbers.icl) else "", lambda row: row.note, long=True),
    ]
    caption = (
        "Mean ± sample standard deviation over the seeds that draw the examples, in percent; a single run has none. "
        f"Bold: the number of examples with the highest mean {_em(numbers.k)} of its model and data set. {INTERVALS}"
    )
    return Table("icl", "In-context learning", columns, numbers.icl, lambda row: row.best, caption)


def trial_table(numbers: Numbers) -> Table:
    """One row a trial that has begun."""

    def point(row: Trial) -> str | None:
        return _point(row.hyperparameters, row.paper_point) if row.hyperparameters else None

    columns = [
        *_names(numbers.run.plan, lambda row: row.cell),
        Column("number", "Trial", lambda row: row.number, numeric=True, emphasised=True),
        Column("", "Hyperparameters", point, long=True),
        Column("hyperparameters", "", lambda row: row.hyperparameters),
        Column("paper_point", "", lambda row: row.paper_point),
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


def _test_set(numbers: Numbers) -> Column:
    """The test set, which readers see where cells are tested on other data sets than their own."""
    datasets = numbers.run.plan.resolved.datasets
    title = "Tested on" if any(row.test_set != row.cell.dataset for row in numbers.cells) else ""
    return Column("test_set", title, lambda row: row.test_set, lambda name: datasets[name].title)


def _names(plan: Plan, cell: Callable[[Any], Any]) -> list[Column]:
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


def _interval(numbers: Numbers, key: str, title: str = "") -> list[Column]:
    """The bounds of a metric's interval, and both in one column for readers where it has a title."""

    def of(row: Any) -> Any:
        return numbers.evidence.interval(row, key)

    bounds = [
        Column(f"{key}_low", "", lambda row: found.low if (found := of(row)) else None),
        Column(f"{key}_high", "", lambda row: found.high if (found := of(row)) else None),
    ]
    return [Column("", title, of, show.interval, numeric=True), *bounds] if title else bounds


def _em(k: int) -> str:
    return f"EM@{k}"


def _ks(numbers: Numbers) -> list[int]:
    return [k for k in KS if k <= numbers.k]


def _point(values: Any, paper_point: bool | None) -> str:
    return show.hyperparameters(values) + (" (the paper's point)" if paper_point else "")


def _spread(spread: Spread) -> str:
    mean = show.percent(spread.mean)
    return mean if spread.sd is None else f"{mean} ± {show.percent(spread.sd)}"


def _mean(spread: Spread | None) -> float | None:
    return spread.mean if spread else None


def _sd(spread: Spread | None) -> float | None:
    return spread.sd if spread else None
