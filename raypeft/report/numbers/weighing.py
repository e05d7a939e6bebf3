"""Weighing: from the scores of single test items to intervals and tested differences.

What is compared stands in `raypeft.report.numbers.contrasts`. All comparisons of the study in one metric are one
family: Holm's correction keeps the chance that a report claims any difference in that metric that does not exist below
five percent.

- EM@k: McNemar's exact test, matched odds ratio.
- Each of `METRICS` that is compared: its test of the items' own scores. The difference and its interval are of the
  corpus-level score, from the resampled counts of the items.
- Against in-context learning a difference has to show against every seed, in the same direction: the p-value is the
  largest of the seeds', the effect their median.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raypeft.metrics.entries import METRICS, Metric, compared_metrics, paired_test
from raypeft.metrics.items import ItemScores
from raypeft.report.numbers.cells import CellRow
from raypeft.report.numbers.contrasts import contrasts
from raypeft.report.numbers.evidence import Comparison, Evidence, Key, key_of
from raypeft.report.numbers.gather import Numbers
from raypeft.report.numbers.icl import IclRow
from raypeft.report.numbers.scores import read_scores
from raypeft.statistics import Bootstrap, Interval, Sampled, exact_share, holm
from raypeft.statistics.bootstrap import Statistic

SEED = 42


@dataclass(frozen=True)
class _System:
    """A cell or a number of examples, with the runs it was measured in (one a seed).

    Attributes:
        sampled: the metrics that are compared.
        intervals: of all metrics.
    """

    row: CellRow | IclRow
    runs: Sequence[ItemScores]
    sampled: Mapping[str, Sampled]
    intervals: Mapping[str, Interval]

    def outcomes(self, metric: str) -> Sequence[NDArray[Any]]:
        """What is compared of the single items in every run: their score, or whether the reference is found."""
        if metric in METRICS:
            return [METRICS[metric].score(run.counts[metric]) for run in self.runs]
        return [run.hits(int(metric.removeprefix("em@"))) for run in self.runs]


def weigh(numbers: Numbers) -> Numbers:
    """The numbers with their evidence, from the items of every test; what has no predictions is left out."""
    compared = (numbers.metric, *compared_metrics())
    resamples: dict[int, Bootstrap] = {}
    systems: dict[Key, _System] = {}
    rows: list[CellRow | IclRow] = [*numbers.cells, *numbers.icl]
    for row in rows:
        if (system := _system(numbers, row, resamples, compared)) is not None:
            systems[key_of(row)] = system
    comparisons = []
    for first, second in contrasts(numbers):
        one, other = systems.get(key_of(first)), systems.get(key_of(second))
        if one is not None and other is not None and one.runs[0].ids == other.runs[0].ids:
            common = [metric for metric in compared if metric in one.sampled and metric in other.sampled]
            comparisons += [_compare(metric, first, one, other) for metric in common]
    intervals = {key: system.intervals for key, system in systems.items()}
    return replace(numbers, evidence=Evidence(intervals, _corrected(comparisons)))


def _system(
    numbers: Numbers, row: CellRow | IclRow, resamples: dict[int, Bootstrap], compared: Sequence[str]
) -> _System | None:
    runs = [scores for scores in _runs(numbers, row) if scores is not None]
    runs = [scores for scores in runs if scores.ids == runs[0].ids]
    if not runs:
        return None
    items = len(runs[0])
    if items not in resamples:
        resamples[items] = Bootstrap(items, SEED)
    each = [_sample(resamples[items], scores) for scores in runs]
    sampled = {name: Sampled.mean([one[name] for one in each]) for name in each[0] if all(name in one for one in each)}
    return _System(row, runs, {name: sampled[name] for name in compared if name in sampled}, _intervals(sampled, items))


def _runs(numbers: Numbers, row: CellRow | IclRow) -> list[ItemScores | None]:
    run = numbers.run
    if isinstance(row, CellRow):
        return [read_scores(run, run.predictions_file(row.cell, row.test_set))] if row.state == "tested" else []
    jobs = [job for job in run.plan.icl_jobs if (job.model, job.dataset, job.examples) == row.key]
    return [read_scores(run, run.icl_file(job).with_suffix(".jsonl")) for job in jobs if run.icl(job)]


def _sample(resamples: Bootstrap, scores: ItemScores) -> dict[str, Sampled]:
    names = [f"em@{k}" for k in scores.ks] + [f"em_ast@{k}" for k in scores.ks]
    hits = [scores.hits(k) for k in scores.ks] + [scores.hits(k, tree=True) for k in scores.ks]
    statistics = {name: _percent(place) for place, name in enumerate(names, start=1)}
    first = 1 + len(names)
    for key, counts in scores.counts.items():
        statistics[key] = _score(METRICS[key], first)
        first += counts.shape[1]
    return resamples.sample(np.column_stack([np.ones(len(scores)), *hits, *scores.counts.values()]), statistics)


def _percent(column: int) -> Statistic:
    """The share of items, which the first column counts."""
    return lambda sums: 100 * sums[..., column] / np.maximum(sums[..., 0], 1)


def _score(metric: Metric, first: int) -> Statistic:
    return lambda sums: metric.score(sums[..., first : first + metric.width])


def _intervals(metrics: Mapping[str, Sampled], items: int) -> dict[str, Interval]:
    intervals = {}
    for name, sampled in metrics.items():
        interval = sampled.interval()
        if interval is None and name not in METRICS and sampled.value in (0.0, 100.0):
            share = exact_share(items if sampled.value else 0, items)
            interval = Interval(100 * share.low, 100 * share.high)
        if interval is not None:
            intervals[name] = interval
    return intervals


def _compare(metric: str, row: CellRow, first: _System, second: _System) -> Comparison:
    difference = first.sampled[metric] - second.sampled[metric]
    own, test = first.outcomes(metric)[0], paired_test(metric).run
    tests = [test(own, other) for other in second.outcomes(metric)]
    gaps = [float(own.mean() - other.mean()) for other in second.outcomes(metric)]
    agree = min(gaps) > 0 or max(gaps) < 0
    return Comparison(
        metric=metric,
        first=row,
        second=second.row,
        items=len(first.runs[0]),
        difference=difference.value,
        interval=difference.interval(),
        p=max(test.p for test in tests) if agree else 1.0,
        effect=median(test.effect for test in tests),
    )


def _corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    corrected: dict[int, float] = {}
    for metric in dict.fromkeys(found.metric for found in comparisons):
        places = [place for place, found in enumerate(comparisons) if found.metric == metric]
        corrected.update(zip(places, holm([comparisons[place].p for place in places]), strict=True))
    return [replace(found, corrected=corrected[place]) for place, found in enumerate(comparisons)]
