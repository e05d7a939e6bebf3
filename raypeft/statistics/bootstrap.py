"""Bootstrap intervals over the items of one test set."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm

Array = NDArray[np.float64]
# Turns sums of columns over items, shape (..., columns), into a metric, shape (...).
Statistic = Callable[[Array], Array]

DRAWS = 10_000
CONFIDENCE = 0.95

# Relative error of a resample's sums in single precision.
_NOISE = 1e-5


@dataclass(frozen=True)
class Interval:
    """A confidence interval of one metric, in the metric's units."""

    low: float
    high: float


@dataclass(frozen=True)
class Sampled:
    """A metric of a test set with all that an interval needs.

    Attributes:
        value: on the items themselves.
        draws: on every resample, shape (draws,).
        left_out: on the items without one of them, for each, shape (items,).
    """

    value: float
    draws: Array
    left_out: Array

    def __sub__(self, other: "Sampled") -> "Sampled":
        """The difference on the same resamples: paired, because both sides see the same items."""
        return Sampled(self.value - other.value, self.draws - other.draws, self.left_out - other.left_out)

    @classmethod
    def mean(cls, parts: Sequence["Sampled"]) -> "Sampled":
        """The mean of a metric over several systems on the same resamples, such as runs that differ in their seed."""
        return cls(
            float(np.mean([part.value for part in parts])),
            np.mean([part.draws for part in parts], axis=0),
            np.mean([part.left_out for part in parts], axis=0),
        )

    def interval(self, confidence: float = CONFIDENCE) -> Interval | None:
        """The bias-corrected and accelerated interval (Efron 1987); none where no resample differs from another.

        Half of the draws that equal the value count as below it, since metrics of items that are right or wrong take
        few values (Efron and Tibshirani 1993, section 14.3).
        """
        tolerance = _NOISE * max(1.0, abs(self.value))
        if np.ptp(self.draws) <= tolerance:
            return None
        below = np.mean(self.draws < self.value - tolerance)
        equal = np.mean(np.abs(self.draws - self.value) <= tolerance)
        share = np.clip(below + equal / 2, 1 / len(self.draws), 1 - 1 / len(self.draws))
        bias = norm.ppf(share)
        deviations = self.left_out.mean() - self.left_out
        squares = (deviations**2).sum()
        acceleration = (deviations**3).sum() / (6 * squares**1.5) if squares > 0 else 0.0
        tails = norm.ppf([(1 - confidence) / 2, (1 + confidence) / 2])
        levels = norm.cdf(bias + (bias + tails) / (1 - acceleration * (bias + tails)))
        low, high = np.quantile(self.draws, np.clip(levels, 0, 1))
        return Interval(float(low), float(high))


class Bootstrap:
    """Resamples of one test set's items, the same for every metric and every model tested on them.

    Sums over a resample are a matrix product of how often it holds each item with what each item contributes, so that
    ten thousand resamples of a corpus-level metric such as CodeBLEU cost as much as those of a mean.
    """

    def __init__(self, items: int, seed: int, draws: int = DRAWS) -> None:
        """Draw the resamples.

        Args:
            items: number of test items, at least one.
            seed: of the draws.
            draws: number of resamples.
        """
        drawn = np.random.default_rng(seed).integers(items, size=(draws, items))
        cells = drawn + items * np.arange(draws)[:, None]
        counts = np.bincount(cells.ravel(), minlength=draws * items).reshape(draws, items)
        # Counts of items and of tokens are whole numbers far below 2^24, which single precision holds exactly.
        self._counts = counts.astype(np.float32)

    def sample(self, columns: NDArray[np.floating], statistics: Mapping[str, Statistic]) -> dict[str, Sampled]:
        """Resample metrics.

        Args:
            columns: what each item contributes, shape (items, columns).
            statistics: metrics of the sums of these columns, by name.
        """
        exact = np.asarray(columns, dtype=np.float64)
        total = exact.sum(axis=0)
        # One row a column, so that a statistic finds each column's sums side by side in memory.
        sums = (exact.astype(np.float32).T @ self._counts.T).astype(np.float64).T
        left_out = total - exact
        return {
            name: Sampled(float(statistic(total)), statistic(sums), statistic(left_out))
            for name, statistic in statistics.items()
        }


def exact_share(successes: int, items: int, confidence: float = CONFIDENCE) -> Interval:
    """Clopper and Pearson's interval of a share, which exists where a bootstrap has nothing to draw: at none or all."""
    found = binomtest(successes, items).proportion_ci(confidence, method="exact")
    return Interval(float(found.low), float(found.high))
