"""What the numbers of a run support: intervals over test items, and tests of differences on the same items."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from raypeft.report.numbers.cells import CellRow
from raypeft.report.numbers.icl import IclRow

if TYPE_CHECKING:  # scipy takes a second to import, and reading what was found does without it
    from raypeft.statistics import Interval

ALPHA = 0.05

Key = str | tuple[str, str, int]


@dataclass(frozen=True)
class Comparison:
    """Two systems on the same test items.

    Attributes:
        metric: `em@k` or one of `METRICS`.
        first: a tested cell.
        second: another, or in-context learning with some number of examples.
        items: test items of both.
        difference: points of the metric that the first is above the second.
        interval: of that difference.
        p: of the test, not corrected.
        corrected: p corrected by Holm within the family of all comparisons of the study in this metric.
        effect: as the metric's test has it, such as an odds ratio.
    """

    metric: str
    first: CellRow
    second: CellRow | IclRow
    items: int
    difference: float
    interval: "Interval | None"
    p: float
    effect: float
    corrected: float = 1.0

    @property
    def supported(self) -> bool:
        """Whether the corrected test supports that there is a difference."""
        return self.corrected < ALPHA


@dataclass(frozen=True)
class Evidence:
    """Intervals and comparisons of a run.

    Attributes:
        intervals: by metric, of each cell and test set (by name) and each (model, data set, number of examples).
        comparisons: of all pairs, in the order of the report.
    """

    intervals: "Mapping[Key, Mapping[str, Interval]]" = field(default_factory=dict)
    comparisons: Sequence[Comparison] = ()

    def interval(self, row: CellRow | IclRow, metric: str) -> "Interval | None":
        """Interval of a row's metric over test items; for in-context learning, of its mean over seeds."""
        return self.intervals.get(key_of(row), {}).get(metric)

    def between(self, first: CellRow, second: CellRow | IclRow, metric: str) -> Comparison | None:
        """The comparison of a cell with another or with in-context learning, as the first sees it."""
        there, back = (metric, key_of(first), key_of(second)), (metric, key_of(second), key_of(first))
        if there in self._places:
            return self.comparisons[self._places[there]]
        return _reversed(self.comparisons[self._places[back]]) if back in self._places else None

    @cached_property
    def _places(self) -> Mapping[tuple[str, Key, Key], int]:
        return {
            (found.metric, key_of(found.first), key_of(found.second)): place
            for place, found in enumerate(self.comparisons)
        }


def key_of(row: CellRow | IclRow) -> Key:
    """What a row is known by: a cell and test set by name, in-context learning by model, data set and examples."""
    return row.name if isinstance(row, CellRow) else row.key


def _reversed(found: Comparison) -> Comparison:
    from raypeft.metrics.entries import paired_test  # loads NumPy, which reading what was found does without

    assert isinstance(found.second, CellRow)
    interval = found.interval and replace(found.interval, low=-found.interval.high, high=-found.interval.low)
    return replace(
        found,
        first=found.second,
        second=found.first,
        difference=-found.difference,
        interval=interval,
        effect=paired_test(found.metric).reverse(found.effect),
    )
