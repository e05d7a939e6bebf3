"""Intervals: exact sums, agreement with scipy's bootstrap, and how often they hold the truth."""

import numpy as np
import pytest
from scipy import stats

from raypeft.metrics.codebleu import codebleu_counts
from raypeft.metrics.composition import WIDTH, compose
from raypeft.statistics import Bootstrap, Interval, Sampled, exact_share
from tests.metrics.measured import codebleu

CODE = [
    ("x = a + b", "x = a + c"),
    ("sorted(a, reverse=True)", "sorted(a)"),
    ("for i in range(n):\n    total = total + i", "total = sum(range(n))"),
    ("with open(path) as stream:\n    text = stream.read()", "text = open(path).read()"),
    ("', '.join(names)", "', '.join(names)"),
]


def sample(resamples: Bootstrap, values: np.ndarray) -> Sampled:
    return resamples.sample(with_ones(values), {"mean": lambda sums: sums[..., 1] / sums[..., 0]})["mean"]


def sample_codebleu(resamples: Bootstrap, counts: np.ndarray) -> Sampled:
    return resamples.sample(counts, {"codebleu": lambda sums: compose(sums)[..., 0]})["codebleu"]


def with_ones(values: np.ndarray) -> np.ndarray:
    return np.stack([np.ones(len(values)), values], axis=1)


def test_a_resample_is_scored_as_if_its_items_were_a_test_set() -> None:
    references, predictions = zip(*CODE, strict=True)
    sampled = sample_codebleu(Bootstrap(5, seed=7, draws=3), codebleu_counts(references, predictions))
    drawn = np.random.default_rng(7).integers(5, size=(3, 5))
    for score, items in zip(sampled.draws, drawn, strict=True):
        expected = codebleu([references[item] for item in items], [predictions[item] for item in items]).score
        assert score == pytest.approx(expected)
    assert sampled.value == pytest.approx(codebleu(references, predictions).score)
    assert sampled.left_out[2] == pytest.approx(
        codebleu([*references[:2], *references[3:]], [*predictions[:2], *predictions[3:]]).score
    )


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(1).random(50)
    first, second, other = (sample(Bootstrap(50, seed, 1000), values).interval() for seed in (1, 1, 2))
    assert first == second != other


def test_intervals_agree_with_scipy() -> None:
    values = np.random.default_rng(5).exponential(size=60)
    found = sample(Bootstrap(60, seed=1), values).interval()
    expected = stats.bootstrap((values,), np.mean, n_resamples=10_000, method="BCa", rng=2).confidence_interval
    assert found is not None
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.02)


def test_the_difference_of_two_systems_is_paired() -> None:
    easy = np.random.default_rng(3).random(200)
    resamples = Bootstrap(200, seed=1)
    first, second = sample(resamples, easy + 0.1), sample(resamples, easy)
    assert (first - second).draws == pytest.approx(0.1, abs=1e-5)
    assert (first - second).interval() is None and first.interval() is not None


def test_items_that_are_all_alike_have_no_interval() -> None:
    assert sample(Bootstrap(20, seed=1, draws=100), np.zeros(20)).interval() is None


@pytest.mark.parametrize(("items", "share"), [(80, 0.05), (80, 0.3), (543, 0.02)])
def test_intervals_of_exact_match_cover_the_true_share(items: int, share: float) -> None:
    random = np.random.default_rng(11)
    resamples = Bootstrap(items, seed=4, draws=1000)
    intervals = [sample(resamples, (random.random(items) < share).astype(float)).interval() for _ in range(400)]
    covered = sum(interval is not None and interval.low <= share <= interval.high for interval in intervals)
    # 95 % of 400, less and more three standard errors; whole numbers of hits make it cover somewhat more.
    assert 367 <= covered <= 397


def test_intervals_of_a_corpus_level_score_cover_it() -> None:
    random = np.random.default_rng(13)
    quality = random.random((5000, 1))
    population = np.ones((5000, WIDTH))
    totals = random.integers(4, 30, size=(5000, 1))
    for start, stop, half in ((3, 11, 4), (11, 19, 4), (19, 21, 1), (21, 23, 1)):
        population[:, start + half : stop] = totals
        population[:, start : start + half] = random.binomial(totals, quality, size=(5000, half))
    population[:, 1:3] = totals
    truth = compose(population.sum(axis=0))[0]
    resamples = Bootstrap(100, seed=5, draws=1000)
    covered = 0
    for _ in range(400):
        interval = sample_codebleu(resamples, population[random.integers(5000, size=100)]).interval()
        assert isinstance(interval, Interval)
        covered += interval.low <= truth <= interval.high
    assert 360 <= covered <= 395


def test_a_mean_over_seeds_is_resampled_as_one() -> None:
    random = np.random.default_rng(19)
    resamples, first, second = Bootstrap(30, seed=1, draws=50), random.random(30), random.random(30)
    together = Sampled.mean([sample(resamples, first), sample(resamples, second)])
    expected = sample(resamples, (first + second) / 2)
    assert together.value == pytest.approx(expected.value)
    assert together.draws == pytest.approx(expected.draws, abs=1e-5)
    assert together.left_out == pytest.approx(expected.left_out)


def test_no_hits_have_an_exact_interval() -> None:
    # The upper bound solves (1 - p)^20 = 0.025.
    found = exact_share(0, 20)
    assert (found.low, found.high) == pytest.approx((0.0, 1 - 0.025 ** (1 / 20)))
