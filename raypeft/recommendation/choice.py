"""The choice among candidates, and what the test items say about it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raypeft.metrics.items import ItemScores
from raypeft.recommendation.candidates import Budget, Candidate, pareto_front, sort_out
from raypeft.report.numbers.evidence import ALPHA
from raypeft.report.numbers.gather import Numbers
from raypeft.report.numbers.icl import IclRow
from raypeft.report.numbers.scores import read_scores
from raypeft.statistics import Bootstrap, Interval, exact_share, holm, mcnemar
from raypeft.statistics.bootstrap import Statistic

SEED = 42


@dataclass(frozen=True)
class Rival:
    """A candidate beside the recommended one, on the same test items.

    Attributes:
        difference: points of EM@k that the recommended one is above it.
        interval: of the difference, by the paired bootstrap; none where it has none.
        p: of McNemar's exact test, corrected by Holm for all rivals; none where the items cannot be compared.
    """

    candidate: Candidate
    difference: float
    interval: Interval | None
    p: float | None

    @property
    def is_worse(self) -> bool:
        """Whether the corrected test supports that it is worse."""
        return self.p is not None and self.p < ALPHA and self.difference > 0


@dataclass(frozen=True)
class Recommendation:
    """For one test set.

    Attributes:
        best: the candidate of the highest EM@k within the limits; none where nothing tested is within them.
        interval: of its EM@k over test items.
        rivals: the others within the limits, best first.
        front: names of the candidates on the Pareto front.
        left_out: cells that are not candidates, and why.
        icl: the best in-context learning on the same test set, with what it reached.
    """

    test_set: str
    items: int | None
    best: Candidate | None
    interval: Interval | None
    rivals: Sequence[Rival]
    front: frozenset[str]
    left_out: Sequence[str]
    icl: tuple[IclRow, float] | None


def recommend(
    numbers: Numbers, limits: Budget, *, model: str | None = None, dataset: str | None = None
) -> list[Recommendation]:
    """Recommend one cell for each test set of a run.

    Args:
        numbers: of the run.
        limits: of training.
        model: only this model.
        dataset: only this test set.
    """
    rows = [row for row in numbers.cells if model in (None, row.cell.model) and dataset in (None, row.test_set)]
    return [_for_test_set(numbers, name, limits, model) for name in dict.fromkeys(row.test_set for row in rows)]


def _for_test_set(numbers: Numbers, test_set: str, limits: Budget, model: str | None) -> Recommendation:
    rows = [row for row in numbers.cells if row.test_set == test_set and model in (None, row.cell.model)]
    fitting, left_out = sort_out(numbers, rows, limits)
    examples = [
        (row, row.metrics[numbers.metric].mean)
        for row in numbers.icl
        if row.dataset == test_set and model in (None, row.model) and numbers.metric in row.metrics
    ]
    interval, rivals = _weigh(numbers, fitting)
    return Recommendation(
        test_set=test_set,
        items=fitting[0].row.items if fitting else None,
        best=fitting[0] if fitting else None,
        interval=interval,
        rivals=rivals,
        front=frozenset(candidate.row.name for candidate in pareto_front(fitting)),
        left_out=left_out,
        icl=max(examples, key=lambda pair: pair[1], default=None),
    )


def _weigh(numbers: Numbers, fitting: Sequence[Candidate]) -> tuple[Interval | None, list[Rival]]:
    """The interval of the first candidate, and the others tested against it."""
    if not fitting:
        return None, []
    best, *others = fitting
    own = _scores(numbers, best)
    if own is None:
        return None, [Rival(other, best.value - other.value, None, None) for other in others]
    hits = {best.row.name: own.hits(numbers.k)}
    for other in others:
        scores = _scores(numbers, other)
        if scores is not None and scores.ids == own.ids:
            hits[other.row.name] = scores.hits(numbers.k)
    columns = np.column_stack(list(hits.values())).astype(np.float64)
    places = {name: place for place, name in enumerate(hits)}
    sampled = Bootstrap(len(own), SEED).sample(
        np.column_stack([columns, np.ones(len(own))]),
        {name: _percent(place) for name, place in places.items()},
    )
    compared = [other for other in others if other.row.name in hits]
    corrected = holm([mcnemar(hits[best.row.name], hits[other.row.name]).p for other in compared])
    p_values = {other.row.name: p for other, p in zip(compared, corrected, strict=True)}
    first = sampled[best.row.name]
    interval = first.interval()
    if interval is None:
        share = exact_share(int(hits[best.row.name].sum()), len(own))
        interval = Interval(100 * share.low, 100 * share.high)
    return interval, [
        Rival(
            other,
            best.value - other.value,
            (first - sampled[other.row.name]).interval() if other.row.name in sampled else None,
            p_values.get(other.row.name),
        )
        for other in others
    ]


def _percent(column: int) -> Statistic:
    return lambda sums: 100 * sums[..., column] / sums[..., -1]


def _scores(numbers: Numbers, candidate: Candidate) -> ItemScores | None:
    run, row = numbers.run, candidate.row
    return read_scores(run, run.predictions_file(row.cell, row.test_set))
