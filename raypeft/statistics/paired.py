"""Comparisons of two systems on the same test items."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

Values = NDArray[np.float64]
Hits = NDArray[np.bool_]


@dataclass(frozen=True)
class Paired:
    """What a paired test found.

    Attributes:
        p: two-sided, not corrected.
        effect: of the first system against the second: an odds ratio or Cliff's delta.
    """

    p: float
    effect: float


def mcnemar(first: Hits, second: Hits) -> Paired:
    """McNemar's exact test of two systems that are right or wrong on each item, with the matched odds ratio.

    Only items on which they disagree count; under the null hypothesis each falls to either side like a coin.
    """
    table = np.array([[(first & second).sum(), (first & ~second).sum()], [(~first & second).sum(), 0]])
    p = float(statsmodels_mcnemar(table, exact=True).pvalue) if table[0, 1] + table[1, 0] else 1.0
    return Paired(min(p, 1.0), matched_odds_ratio(int(table[0, 1]), int(table[1, 0])))


def matched_odds_ratio(first_only: float, second_only: float) -> float:
    """Items that only the first has right over those that only the second has.

    Where either is zero, half an item is added to both (Haldane 1956; Anscombe 1956), so that the ratio is finite.
    """
    added = 0.0 if first_only and second_only else 0.5
    return (first_only + added) / (second_only + added)


def wilcoxon(first: Values, second: Values) -> Paired:
    """Wilcoxon's signed-rank test of two systems' scores of each item, with Cliff's delta.

    Items with equal scores take part in the ranking and then drop out (Pratt 1959).
    """
    if np.array_equal(first, second):
        return Paired(1.0, 0.0)
    p = float(stats.wilcoxon(first, second, zero_method="pratt").pvalue)
    return Paired(p, cliffs_delta(first, second))


def cliffs_delta(first: Values, second: Values) -> float:
    """How much more often a score of the first is above one of the second than below it, from -1 to 1 (Cliff 1993).

    It compares every score with every other, not item by item.
    """
    above = stats.mannwhitneyu(first, second, method="asymptotic").statistic
    return float(2 * above / (len(first) * len(second)) - 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for being several (Holm 1979): below 0.05 keeps the chance of any false claim below 5 %."""
    return [float(p) for p in multipletests(p_values, method="holm")[1]] if p_values else []
