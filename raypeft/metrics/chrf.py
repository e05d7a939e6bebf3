"""Character n-gram F-score."""

from collections.abc import Sequence

import numpy as np
from sacrebleu.metrics import CHRF

from raypeft.metrics.composition import Array

_ORDERS = CHRF.CHAR_ORDER
_FACTOR = CHRF.BETA**2


def chrf(references: Sequence[str], predictions: Sequence[str]) -> float:
    """Return corpus-level chrF2 in percent (Popović 2015; sacrebleu's defaults: 6-grams, beta 2, no word n-grams).

    Raises:
        ValueError: when there are not as many predictions as references.
    """
    return float(chrf_score(chrf_counts(references, predictions).sum(axis=0)))


def chrf_counts(references: Sequence[str], predictions: Sequence[str]) -> Array:
    """Return each pair's counts of n-grams (prediction, reference, shared) for every order: shape (items, 18).

    Raises:
        ValueError: when there are not as many predictions as references.
    """
    if len(references) != len(predictions):
        raise ValueError(f"{len(references)} references, but {len(predictions)} predictions")
    # sacrebleu gives corpus scores or sentence scores to the outside, never the counts that both are made of.
    rows = CHRF()._extract_corpus_statistics(list(predictions), [list(references)]) if references else []
    return np.array(rows, dtype=np.float64).reshape(-1, 3 * _ORDERS)


def chrf_score(counts: Array) -> Array:
    """Return chrF2 in percent from summed counts of shape (…, 18): the F-score of mean precision and mean recall.

    Orders that either side is too short for are left out, as sacrebleu does.
    """
    predicted, wanted, shared = (counts[..., start::3] for start in range(3))
    exists = (predicted > 0) & (wanted > 0)
    orders = np.maximum(exists.sum(axis=-1), 1)
    precision = np.where(exists, shared / np.maximum(predicted, 1), 0.0).sum(axis=-1) / orders
    recall = np.where(exists, shared / np.maximum(wanted, 1), 0.0).sum(axis=-1) / orders
    total = _FACTOR * precision + recall
    return 100 * (1 + _FACTOR) * precision * recall / np.where(total > 0, total, 1.0)
