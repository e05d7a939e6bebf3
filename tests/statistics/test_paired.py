"""Paired tests against values worked out by hand and against other implementations."""

import gc
from math import comb

import numpy as np
import pytest
from scipy import stats

from raypeft.statistics import cliffs_delta, holm, matched_odds_ratio, mcnemar, wilcoxon


def hits(*counts: int) -> tuple[np.ndarray, np.ndarray]:
    """Two systems with so many items right by both, only the first, only the second, and neither."""
    first = np.repeat([True, True, False, False], counts)
    return first, np.repeat([True, False, True, False], counts)


def test_mcnemar_by_hand() -> None:
    # Ten items tell them apart, eight for the first: both tails of ten coins, 2 (1 + 10 + 45) / 1024.
    found = mcnemar(*hits(20, 8, 2, 50))
    assert found.p == pytest.approx(2 * (comb(10, 0) + comb(10, 1) + comb(10, 2)) / 2**10)
    assert found.effect == 8 / 2


@pytest.mark.parametrize("counts", [(5, 30, 11, 54), (0, 7, 0, 3), (40, 1, 1, 1), (0, 100, 150, 3)])
def test_mcnemar_is_a_sign_test(counts: tuple[int, ...]) -> None:
    expected = stats.binomtest(counts[1], counts[1] + counts[2], 0.5).pvalue
    assert mcnemar(*hits(*counts)).p == pytest.approx(expected)


def test_systems_that_never_differ_are_not_told_apart() -> None:
    assert mcnemar(*hits(10, 0, 0, 10)) == mcnemar(*hits(0, 0, 0, 5))
    assert (mcnemar(*hits(10, 0, 0, 10)).p, mcnemar(*hits(10, 0, 0, 10)).effect) == (1.0, 1.0)
    same = np.array([0.5, 0.25, 0.75])
    assert (wilcoxon(same, same).p, wilcoxon(same, same).effect) == (1.0, 0.0)


def test_odds_ratio_stays_finite() -> None:
    assert matched_odds_ratio(6, 3) == 2
    assert matched_odds_ratio(4, 0) == 4.5 / 0.5
    assert matched_odds_ratio(0, 4) == 0.5 / 4.5


def test_wilcoxon_by_hand() -> None:
    # Ten differences, all for the first: rank sum 0 below, exact p = 2 / 2^10.
    second = np.zeros(10)
    assert wilcoxon(np.arange(1.0, 11.0), second).p == pytest.approx(2 / 2**10)
    assert wilcoxon(second, np.arange(1.0, 11.0)).effect == -1.0


def test_wilcoxon_against_permutations_of_signs() -> None:
    random = np.random.default_rng(2)
    first, second = np.round(random.random(120), 2), np.round(random.random(120) * 0.85, 2)
    gaps = first - second
    ranks = np.where(gaps == 0, 0, stats.rankdata(np.abs(gaps)))
    signs = random.choice([-1, 1], size=(20_000, 120))
    chance = np.mean(np.abs(signs @ ranks) >= abs((np.sign(gaps) * ranks).sum()))
    assert wilcoxon(first, second).p == pytest.approx(chance, abs=0.01)


def test_cliffs_delta_counts_every_pair() -> None:
    first, second = np.array([1.0, 2.0, 3.0, 3.0]), np.array([2.0, 2.0, 0.5])
    above = sum(a > b for a in first for b in second)
    below = sum(a < b for a in first for b in second)
    assert cliffs_delta(first, second) == pytest.approx((above - below) / 12)


def test_holm_by_hand() -> None:
    # In order 0.01, 0.02, 0.03, 0.04: times 4, 3, 2, 1, none below the one before.
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_keeps_false_claims_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "collect", lambda: 0)  # which statsmodels calls each time
    random = np.random.default_rng(17)
    claims = 0
    for _ in range(60):
        right = random.random((4, 100)) < 0.4
        p = [mcnemar(right[a], right[b]).p for a in range(4) for b in range(a)]
        claims += min(holm(p)) < 0.05
    assert claims <= 60 * 0.05 + 3 * (60 * 0.05 * 0.95) ** 0.5
