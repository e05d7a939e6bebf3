"""Character n-gram F-score, chrF2 (Popović 2015; sacrebleu's defaults: 6-grams, beta 2, no word n-grams)."""

from collections.abc import Sequence

import numpy as np
from sacrebleu.metrics import CHRF
from sacrebleu.metrics.helpers import extract_all_char_ngrams

from raypeft.metrics.composition import Array

_ORDERS = CHRF.CHAR_ORDER
_FACTOR = CHRF.BETA**2
WIDTH = 3 * _ORDERS


def chrf_counts(references: Sequence[str], predictions: Sequence[str]) -> Array:
    """Return each pair's counts of n-grams (prediction, reference, shared) for every order: shape (items, WIDTH).

    Raises:
        ValueError: when there are not as many predictions as references.
    """
    if len(references) != len(predictions):
        raise ValueError(f"{len(references)} references, but {len(predictions)} predictions")
    rows = [_count(*pair) for pair in zip(references, predictions, strict=True)]
    return np.array(rows, dtype=np.float64).reshape(-1, WIDTH)


def chrf_score(counts: Array) -> Array:
    """Return chrF2 in percent from summed counts of shape (…, WIDTH): the F-score of mean precision and mean recall.

    Orders that either side is too short for are left out, as sacrebleu does.
    """
    predicted, wanted, shared = (counts[..., start::3] for start in range(3))
    exists = (predicted > 0) & (wanted > 0)
    orders = np.maximum(exists.sum(axis=-1), 1)
    precision = np.where(exists, shared / np.maximum(predicted, 1), 0.0).sum(axis=-1) / orders
    recall = np.where(exists, shared / np.maximum(wanted, 1), 0.0).sum(axis=-1) / orders
    total = _FACTOR * precision + recall
    return 100 * (1 + _FACTOR) * precision * recall / np.where(total > 0, total, 1.0)


def _count(reference: str, prediction: str) -> list[int]:
    """Counts of one pair; as in sacrebleu, n-grams of a prediction whose reference has none do not count."""
    counts = []
    ngrams = (extract_all_char_ngrams(text, _ORDERS) for text in (prediction, reference))
    for found, wanted in zip(*ngrams, strict=True):
        counts += [found.total() if wanted else 0, wanted.total(), (found & wanted).total()]
    return counts
