"""Statistics over test items: bootstrap intervals, paired tests, correction for many comparisons, effect sizes."""

from raypeft.statistics.bootstrap import CONFIDENCE, DRAWS, Bootstrap, Interval, Sampled, exact_share
from raypeft.statistics.paired import Paired, cliffs_delta, holm, matched_odds_ratio, mcnemar, wilcoxon

__all__ = [
    "CONFIDENCE",
    "DRAWS",
    "Bootstrap",
    "Interval",
    "Paired",
    "Sampled",
    "cliffs_delta",
    "exact_share",
    "holm",
    "matched_odds_ratio",
    "mcnemar",
    "wilcoxon",
]
