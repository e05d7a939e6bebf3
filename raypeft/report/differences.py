"""The table of differences: every comparison on the same test items, and whether its corrected test supports it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from raypeft.report import formatting as show
from raypeft.report.evidence import ALPHA, CODEBLEU, Comparison
from raypeft.report.numbers import Numbers
from raypeft.report.tables import Column, Table


@dataclass(frozen=True)
class _Row:
    """Two systems, compared in each metric."""

    of: Comparison
    metrics: Mapping[str, Comparison]


def difference_table(numbers: Numbers) -> Table:
    """One row two systems that were tested on the same items: techniques, or a technique and a number of examples."""
    resolved, em = numbers.run.plan.resolved, f"EM@{numbers.k}"

    def second(row: _Row) -> str:
        return row.of.second if row.of.second is not None else f"icl-{row.of.examples}"

    def title(name: str) -> str:
        examples = name.removeprefix("icl-")
        if name in resolved.techniques:
            return resolved.techniques[name].title
        return f"ICL, {examples} example{'' if examples == '1' else 's'}"

    several = any(found.test_set != found.dataset for found in numbers.evidence.comparisons)
    columns = [
        Column("model", "Model", lambda row: row.of.model, lambda name: resolved.models[name].title),
        Column("dataset", "Data set", lambda row: row.of.dataset, lambda name: resolved.datasets[name].title),
        Column(
            "test_set",
            "Test set" if several else "",
            lambda row: row.of.test_set,
            lambda name: resolved.datasets[name].title,
        ),
        Column("first", "First", lambda row: row.of.first, title, emphasised=True),
        Column("second", "Second", second, title, emphasised=True),
        *_columns(numbers.metric, em, "Odds ratio"),
        *_columns(CODEBLEU, "CodeBLEU", "Cliff's delta"),
        Column("test_items", "", lambda row: row.of.items),
    ]
    family = len(numbers.evidence.comparisons) // 2
    caption = (
        f"First minus second, in points, on the same test items, with the 95 % interval of the paired bootstrap. "
        f"{em}: McNemar's exact test and matched odds ratio (half an item added to both sides where one is empty). "
        "CodeBLEU: Wilcoxon's signed-rank test and Cliff's delta of the items' own scores; the difference is of the "
        "whole test's score. Against in-context learning (ICL) a difference has to show against every seed: the "
        f"largest p, the median effect. p: corrected by Holm for the {show.count(family)} comparisons of the study in "
        f"the metric. Bold: p below {ALPHA} in {em}."
    )
    return Table("differences", "Differences", columns, _rows(numbers), lambda row: _supported(row, numbers), caption)


def _rows(numbers: Numbers) -> list[_Row]:
    rows: dict[tuple[Any, ...], dict[str, Comparison]] = {}
    for found in numbers.evidence.comparisons:
        key = (found.model, found.dataset, found.test_set, found.first, found.second, found.examples)
        rows.setdefault(key, {})[found.metric] = found
    return [_Row(next(iter(metrics.values())), metrics) for metrics in rows.values()]


def _supported(row: _Row, numbers: Numbers) -> bool:
    found = row.metrics.get(numbers.metric)
    return found is not None and found.supported


def _columns(metric: str, title: str, effect: str) -> list[Column]:
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
            emphasised=True,
        ),
        Column(f"{metric}_effect", effect, of(lambda found: found.effect), lambda value: f"{value:.2f}", numeric=True),
    ]
