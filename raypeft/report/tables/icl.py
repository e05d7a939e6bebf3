"""Tables of in-context learning: beside tuning, and by itself."""

from collections.abc import Callable

from raypeft.metrics.entries import METRICS
from raypeft.output import text as show
from raypeft.report.numbers.gather import Numbers, Pair
from raypeft.report.numbers.icl import IclRow, Spread
from raypeft.report.tables.columns import INTERVALS, bounds_of, cell_names, em_title, ks, tested_on
from raypeft.report.tables.table import Column, Table


def comparison_table(numbers: Numbers) -> Table:
    """One row a model, data set and test set: the best technique beside the best number of examples."""
    em = em_title(numbers.k)

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
        *cell_names(numbers.run.plan, lambda row: row)[:2],
        tested_on(numbers),
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

    def metric(key: str, title: str, text: Callable[[float], str] = show.percent) -> list[Column]:
        def of(row: IclRow) -> Spread | None:
            return row.metrics.get(key)

        return [
            Column("", title, of, lambda spread: _spread(spread, text), numeric=True, emphasised=key == numbers.metric),
            *bounds_of(numbers, key, f"{title}, 95 %" if key == numbers.metric else ""),
            Column(f"{key}_mean", "", lambda row: _mean(of(row))),
            Column(f"{key}_sd", "", lambda row: _sd(of(row))),
            Column(f"{key}_by_run", "", lambda row: spread.values if (spread := of(row)) else None),
        ]

    columns = [
        *cell_names(numbers.run.plan, lambda row: row)[:2],
        Column("examples", "Examples", lambda row: row.examples, show.count, numeric=True, emphasised=True),
        *metric(numbers.metric, em_title(numbers.k)),
        *(column for k in ks(numbers) if k != numbers.k for column in metric(f"em@{k}", em_title(k) if k == 1 else "")),
        *(column for key, one in METRICS.items() for column in metric(key, one.heading, one.text)),
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
        f"Bold: the number of examples with the highest mean {em_title(numbers.k)} of its model and data set. "
        f"{INTERVALS}"
    )
    return Table("icl", "In-context learning", columns, numbers.icl, lambda row: row.best, caption)


def _spread(spread: Spread, text: Callable[[float], str] = show.percent) -> str:
    mean = text(spread.mean)
    return mean if spread.sd is None else f"{mean} ± {text(spread.sd)}"


def _mean(spread: Spread | None) -> float | None:
    return spread.mean if spread else None


def _sd(spread: Spread | None) -> float | None:
    return spread.sd if spread else None
