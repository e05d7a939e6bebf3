"""Character n-gram F-score."""

from collections.abc import Sequence

from sacrebleu.metrics import CHRF


def chrf(references: Sequence[str], predictions: Sequence[str]) -> float:
    """Return corpus-level chrF2 in percent (Popović 2015; sacrebleu's defaults: 6-grams, beta 2, no word n-grams).

    Raises:
        ValueError: when there are not as many predictions as references.
    """
    if len(references) != len(predictions):
        raise ValueError(f"{len(references)} references, but {len(predictions)} predictions")
    if not references:
        return 0.0
    return float(CHRF().corpus_score(list(predictions), [list(references)]).score)
