"""Weighing: from the scores of single test items to intervals and tested differences.

Every technique is compared with every other of its model, data set and test set, and with in-context learning at every
number of examples there. All comparisons of the study in one metric are one family: Holm's correction keeps the chance
that a report claims any difference in that metric that does not exist below five percent.

- EM@k: McNemar's exact test, matched odds ratio.
- CodeBLEU: Wilcoxon's signed-rank test of the items' own scores, Cliff's delta. The difference and its interval are of
  the corpus-level score, from the resampled counts of the items.
- Against in-context learning a difference has to show against every seed, in the same direction: the p-value is the
  largest of the seeds', the effect their median.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from raypeft.metrics.chrf import chrf_score
from raypeft.metrics.composition import WIDTH, Array, compose, compose_flat
from raypeft.metrics.items import ItemScores
from raypeft.report.cells import CellRow
from raypeft.report.evidence import CODEBLEU, Comparison, Evidence, Key, key_of
from raypeft.report.icl import IclRow
from raypeft.report.numbers import Numbers, Pair
from raypeft.report.scores import read_scores
from raypeft.spec.plan import IclJob
from raypeft.statistics import Bootstrap, Interval, Paired, Sampled, exact_share, holm, mcnemar, wilcoxon
from raypeft.statistics.bootstrap import Statistic

SEED = 42


@dataclass(frozen=True)
class _System:
    """A technique or a number of examples, with the runs it was measured in (one a seed)."""

    row: CellRow | IclRow
    runs: Sequence[ItemScores]
    sampled: Mapping[str, Sampled]


def weigh(numbers: Numbers) -> Numbers:
    """The numbers with their evidence, from the items of every test; what has no predictions is left out."""
    resamples: dict[int, Bootstrap] = {}
    intervals: dict[Key, dict[str, Interval]] = {}
    comparisons: list[Comparison] = []
    icl: dict[Key, _System] = {}
    for pair in numbers.pairs:
        tuned = _systems(numbers, pair.cells, resamples)
        for row in pair.icl:
            if key_of(row) not in icl:
                icl.update({key_of(row): system for system in _systems(numbers, [row], resamples)})
        others = [icl[key_of(row)] for row in pair.icl if key_of(row) in icl]
        for system in [*tuned, *others]:
            intervals[key_of(system.row)] = _intervals(system)
        for metric in (numbers.metric, CODEBLEU):
            comparisons += [
                _compare(pair, metric, first, second)
                for place, first in enumerate(tuned)
                for second in [*tuned[place + 1 :], *others]
                if first.runs[0].ids == second.runs[0].ids
            ]
    return replace(numbers, evidence=Evidence(intervals, _corrected(comparisons)))


def _systems(numbers: Numbers, rows: Sequence[CellRow | IclRow], resamples: dict[int, Bootstrap]) -> list[_System]:
    systems = []
    for row in rows:
        runs = [scores for scores in _runs(numbers, row) if scores is not None]
        runs = [scores for scores in runs if scores.ids == runs[0].ids]
        if runs:
            items = len(runs[0])
            if items not in resamples:
                resamples[items] = Bootstrap(items, SEED)
            each = [_sample(resamples[items], scores) for scores in runs]
            systems.append(_System(row, runs, {name: Sampled.mean([one[name] for one in each]) for name in each[0]}))
    return systems


def _runs(numbers: Numbers, row: CellRow | IclRow) -> list[ItemScores | None]:
    run = numbers.run
    if isinstance(row, CellRow):
        return [read_scores(run, run.predictions_file(row.cell, row.test_set))] if row.state == "tested" else []
    jobs = [job for job in run.plan.icl_jobs if (job.model, job.dataset, job.examples) == key_of(row)]
    return [_icl_scores(numbers, job) for job in jobs if run.icl(job)]


def _icl_scores(numbers: Numbers, job: IclJob) -> ItemScores | None:
    return read_scores(numbers.run, numbers.run.icl_file(job).with_suffix(".jsonl"))


def _sample(resamples: Bootstrap, scores: ItemScores) -> dict[str, Sampled]:
    names = [f"em@{k}" for k in scores.ks] + [f"em_ast@{k}" for k in scores.ks]
    hits = [scores.hits(k) for k in scores.ks] + [scores.hits(k, tree=True) for k in scores.ks]
    columns = np.column_stack([scores.codebleu, scores.codebleu_flat, scores.chrf, *hits])
    first = 2 * WIDTH + scores.chrf.shape[1]
    statistics = {name: _percent(first + place) for place, name in enumerate(names)}
    statistics[CODEBLEU] = lambda sums: compose(sums[..., :WIDTH])[..., 0]
    statistics["codebleu_flat"] = lambda sums: compose_flat(sums[..., WIDTH : 2 * WIDTH])[..., 0]
    statistics["chrf"] = lambda sums: chrf_score(sums[..., 2 * WIDTH : first])
    return resamples.sample(columns, statistics)


def _percent(column: int) -> Statistic:
    return lambda sums: 100 * sums[..., column] / np.maximum(sums[..., 0], 1)


def _intervals(system: _System) -> dict[str, Interval]:
    intervals = {}
    for name, sampled in system.sampled.items():
        interval = sampled.interval()
        if interval is None and name.startswith("em") and sampled.value in (0.0, 100.0):
            items = len(system.runs[0])
            share = exact_share(items if sampled.value else 0, items)
            interval = Interval(100 * share.low, 100 * share.high)
        if interval is not None:
            intervals[name] = interval
    return intervals


def _compare(pair: Pair, metric: str, first: _System, second: _System) -> Comparison:
    difference = first.sampled[metric] - second.sampled[metric]
    tests = [_test(metric, first.runs[0], other) for other in second.runs]
    gaps = [_value(metric, first.runs[0]) - _value(metric, other) for other in second.runs]
    agree = min(gaps) > 0 or max(gaps) < 0
    tuned = second.row if isinstance(second.row, CellRow) else None
    assert isinstance(first.row, CellRow)
    return Comparison(
        metric=metric,
        model=pair.model,
        dataset=pair.dataset,
        test_set=pair.test_set,
        first=first.row.cell.technique,
        second=tuned.cell.technique if tuned else None,
        examples=second.row.examples if isinstance(second.row, IclRow) else None,
        items=len(first.runs[0]),
        difference=difference.value,
        interval=difference.interval(),
        p=max(test.p for test in tests) if agree else 1.0,
        effect=median(test.effect for test in tests),
    )


def _test(metric: str, first: ItemScores, second: ItemScores) -> Paired:
    if metric == CODEBLEU:
        return wilcoxon(_item_codebleu(first), _item_codebleu(second))
    k = int(metric.removeprefix("em@"))
    return mcnemar(first.hits(k), second.hits(k))


def _value(metric: str, scores: ItemScores) -> float:
    """A run's value of what the test compares: the mean over items."""
    if metric == CODEBLEU:
        return float(_item_codebleu(scores).mean())
    return float(scores.hits(int(metric.removeprefix("em@"))).mean())


def _item_codebleu(scores: ItemScores) -> Array:
    return compose(scores.codebleu)[:, 0]


def _corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    corrected: dict[int, float] = {}
    for metric in dict.fromkeys(found.metric for found in comparisons):
        places = [place for place, found in enumerate(comparisons) if found.metric == metric]
        corrected.update(zip(places, holm([comparisons[place].p for place in places]), strict=True))
    return [replace(found, corrected=corrected[place]) for place, found in enumerate(comparisons)]
