"""CodeBLEU (Ren et al. 2020) of Python code: the ``codebleu`` package's four components, put together soundly.

Two variants. ``codebleu`` reads code as code and is the number to trust; ``codebleu_flat`` is made the way the paper's
numbers were made and is the one to set beside them. What ``codebleu`` does otherwise than the package's
``calc_codebleu``:

- n-grams are of Python's tokens, where the package splits at white space and ``f(a, b)`` is two words;
- an n-gram order that a text is too short for is left out for that text, where the package counts one miss, so that an
  identical pair shorter than four tokens falls short of 100;
- the weighted n-gram match is a recall and has no brevity penalty. The package computes one from a reference length of
  2 for every item, which has no effect as soon as predictions are longer than two tokens on average;
- a data-flow match of 0 is 0, where the package counts it as 1. When no reference has any data flow the component does
  not exist (``None``) and the score is the mean of the other three. In a whole test set some reference always has, so
  that its score is the usual quarter each; for single items of one line it is the common case;
- a string at the start of a line is not taken for a docstring, see ``python_code.without_comments``;
- the score does not depend on ``PYTHONHASHSEED``, see ``python_code.data_flow``;
- nothing is logged, and no input raises: an empty prediction scores 0, an empty one for an empty reference 100.

All components are corpus-level: matches and totals are summed over the items before they are divided, so that the
corpus score is not the mean of the items' own. This module counts; ``composition`` divides.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files

import numpy as np
from codebleu import bleu, weighted_ngram_match
from codebleu.parser import remove_comments_and_docstrings

from raypeft.metrics.composition import ORDERS, WIDTH, Array
from raypeft.metrics.exact_match import normalise
from raypeft.metrics.python_code import ascii_only, data_flow, subtrees, tokenize, without_comments


def codebleu_counts(references: Sequence[str], predictions: Sequence[str]) -> Array:
    """Return what ``codebleu`` counts in each pair: shape (items, WIDTH), columns as in ``composition``.

    Raises:
        ValueError: when there are not as many predictions as references.
        UserError: when the installed ``tree-sitter-python`` does not fit ``codebleu``.
    """
    return _rows(references, predictions, _count)


def codebleu_flat_counts(references: Sequence[str], predictions: Sequence[str]) -> Array:
    """Return what ``codebleu_flat`` counts in each pair, the way the paper's replication package does.

    Texts are flattened to one line by ``exact_match.normalise``, so that most code of several lines no longer parses;
    tokens are words between white space; a corpus without data flow scores 0 there; and, as CodeXGLUE's evaluator
    does for every language, Java's comments are removed (``//`` and all that follows it). Apart from the independence
    of the hash seed, the components are the package's own. Errors are those of ``codebleu_counts``.
    """
    return _rows(list(map(normalise, references)), list(map(normalise, predictions)), _count_codexglue)


def _rows(references: Sequence[str], predictions: Sequence[str], count: Callable[[str, str], Sequence[float]]) -> Array:
    if len(references) != len(predictions):
        raise ValueError(f"{len(references)} references, but {len(predictions)} predictions")
    rows = [count(*pair) for pair in zip(references, predictions, strict=True)]
    return np.array(rows, dtype=np.float64).reshape(-1, WIDTH)


def _count(reference: str, prediction: str) -> list[float]:
    reference_tokens, prediction_tokens = tokenize(reference), tokenize(prediction)
    reference_code, prediction_code = (without_comments(ascii_only(text.strip())) for text in (reference, prediction))
    # Five times the package's weights: the same ratio, and its floor of 1 under a short text's total never applies.
    weights = _weights(reference_tokens, keyword=5, other=1)
    return [
        1,
        len(reference_tokens),
        len(prediction_tokens),
        *_columns([_precision(reference_tokens, prediction_tokens, n) for n in ORDERS], len(prediction_tokens)),
        *_columns([_recall(reference_tokens, weights, prediction_tokens, n) for n in ORDERS], len(reference_tokens)),
        *_syntax(reference_code, prediction_code),
        *_dataflow(reference_code, prediction_code),
    ]


def _count_codexglue(reference: str, prediction: str) -> list[float]:
    reference_words, prediction_words = reference.split(), prediction.split()
    weights = _weights(reference_words, keyword=1, other=0.2)
    reference_code, prediction_code = (remove_comments_and_docstrings(text, "java") for text in (reference, prediction))
    return [
        1,
        len(reference_words),
        len(prediction_words),
        *_columns([_precision(reference_words, prediction_words, n) for n in ORDERS]),
        *_columns([_recall(reference_words, weights, prediction_words, n) for n in ORDERS]),
        *_syntax(reference_code, prediction_code),
        *_dataflow(reference_code, prediction_code),
    ]


def _columns(orders: Sequence[tuple[float, float]], length: int = max(ORDERS)) -> list[float]:
    """Return four matches and four totals; orders that a text of ``length`` tokens is too short for count nothing."""
    kept = [pair if n <= length else (0.0, 0.0) for n, pair in zip(ORDERS, orders, strict=True)]
    return [matches for matches, _ in kept] + [total for _, total in kept]


def _precision(reference: list[str], prediction: list[str], n: int) -> tuple[float, float]:
    return bleu.modified_precision([reference], prediction, n)


def _recall(reference: list[str], weights: dict[str, float], prediction: list[str], n: int) -> tuple[float, float]:
    return weighted_ngram_match.modified_recall([[reference, weights]], prediction, n)


def _syntax(reference: str, prediction: str) -> tuple[int, int]:
    found, wanted = set(subtrees(prediction)), subtrees(reference)
    return sum(tree in found for tree in wanted), len(wanted)


def _dataflow(reference: str, prediction: str) -> tuple[int, int]:
    edges = Counter(data_flow(reference))
    return ((edges & Counter(data_flow(prediction))).total() if edges else 0), edges.total()


def _weights(tokens: list[str], *, keyword: float, other: float) -> dict[str, float]:
    return {token: keyword if token in _keywords() else other for token in tokens}


@cache
def _keywords() -> frozenset[str]:
    return frozenset(files("codebleu").joinpath("keywords", "python.txt").read_text(encoding="utf-8").split())
