"""From counts of matches to CodeBLEU: the arithmetic of the score, for a corpus, for single items and for resamples.

CodeBLEU is corpus-level: counts are summed over items before they are divided. An item's counts are therefore enough to
score any selection of items, one item as well as ten thousand bootstrap resamples, without reading code again.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ORDERS = (1, 2, 3, 4)
# Columns of an item's counts. Matches and totals of n-grams are four columns each, one an order.
ITEMS, REFERENCE_TOKENS, PREDICTION_TOKENS = 0, 1, 2
PRECISION, RECALL = slice(3, 11), slice(11, 19)
SYNTAX, DATAFLOW = slice(19, 21), slice(21, 23)
WIDTH = 23
# Columns of a score: the score itself, which is the mean of those components that exist (a quarter each); BLEU-4, a
# precision with brevity penalty; the same n-grams as a recall, unigrams weighted 1 for keywords and 0.2 for others; the
# shares of the reference's subtrees and of its data-flow edges that the prediction has.
PARTS = ("score", "ngram", "weighted_ngram", "syntax", "dataflow")

# Added to a count of no matches so that its logarithm exists (Chen and Cherry 2014, method 1).
_SMOOTHING = 0.1


def compose(counts: Array) -> Array:
    """Return ``codebleu``'s score and components in percent from summed counts.

    Args:
        counts: shape (..., WIDTH).

    Returns:
        Shape (..., 5), columns as in ``PARTS``; the data flow is NaN where no reference has any, and the score is then
        the mean of the other three.
    """
    reference, prediction = counts[..., REFERENCE_TOKENS], counts[..., PREDICTION_TOKENS]
    empty = (reference == 0) & (prediction == 0)
    ngram = _brevity(reference, prediction) * _mean_ratio(counts[..., PRECISION])
    weighted = np.where(reference == 0, 0.0, _mean_ratio(counts[..., RECALL]))
    return _parts(
        np.where(empty, 1.0, ngram),
        np.where(empty, 1.0, weighted),
        _ratio(counts[..., SYNTAX], 0.0),
        _ratio(counts[..., DATAFLOW], np.nan),
    )


def compose_flat(counts: Array) -> Array:
    """Return ``codebleu_flat``'s score and components in percent, as the paper's evaluator puts them together.

    The weighted match has a brevity penalty against a reference length of two an item, the length of the list of words
    and weights that the evaluator measures, and a corpus without data flow scores 0 there.
    """
    prediction = counts[..., PREDICTION_TOKENS]
    return _parts(
        _brevity(counts[..., REFERENCE_TOKENS], prediction) * _mean_ratio(counts[..., PRECISION]),
        _brevity(2 * counts[..., ITEMS], prediction) * _mean_ratio(counts[..., RECALL]),
        _ratio(counts[..., SYNTAX], 0.0),
        _ratio(counts[..., DATAFLOW], 0.0),
    )


def _parts(*parts: Array) -> Array:
    columns = 100 * np.stack(parts, axis=-1)
    return np.concatenate([np.nanmean(columns, axis=-1, keepdims=True), columns], axis=-1)


def _ratio(counts: Array, missing: float) -> Array:
    matches, totals = counts[..., 0], counts[..., 1]
    return np.where(totals > 0, matches / np.maximum(totals, 1), missing)


def _brevity(reference: Array, prediction: Array) -> Array:
    """Return BLEU's penalty for predictions shorter than their references (Papineni et al. 2002)."""
    penalty = np.exp(1 - reference / np.maximum(prediction, 1))
    return np.where(prediction > reference, 1.0, np.where(prediction == 0, 0.0, penalty))


def _mean_ratio(counts: Array) -> Array:
    """Return the smoothed geometric mean over the n-gram orders that any text is long enough for."""
    half = len(ORDERS)
    matches, totals = counts[..., :half], counts[..., half:]
    exists = totals > 0
    logarithms = np.log(np.where(matches == 0, _SMOOTHING, matches) / np.maximum(totals, 1))
    mean = np.where(exists, logarithms, 0.0).sum(axis=-1) / np.maximum(exists.sum(axis=-1), 1)
    return np.where(matches[..., 0] > 0, np.exp(mean), 0.0)
