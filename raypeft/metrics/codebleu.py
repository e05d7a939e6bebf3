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
corpus score is not the mean of ``codebleu_items``.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from statistics import fmean

from codebleu import bleu, syntax_match, weighted_ngram_match
from codebleu.parser import remove_comments_and_docstrings

from raypeft.metrics.exact_match import normalise
from raypeft.metrics.python_code import ascii_only, data_flow, language, tokenize, without_comments

_ORDERS = (1, 2, 3, 4)


@dataclass(frozen=True)
class CodeBleu:
    """A CodeBLEU score and its components, in percent.

    Attributes:
        score: the mean of the components (weights 0.25 four times; a component that does not exist is left out).
        ngram: BLEU-4, a precision with brevity penalty.
        weighted_ngram: the same n-grams as a recall, unigrams weighted 1 for keywords and 0.2 for others.
        syntax: the share of the reference's subtrees that the prediction has.
        dataflow: the share of the reference's data-flow edges that the prediction has; None when there are none.
    """

    score: float
    ngram: float
    weighted_ngram: float
    syntax: float
    dataflow: float | None


def codebleu(references: Sequence[str], predictions: Sequence[str]) -> CodeBleu:
    """Return corpus-level CodeBLEU of one prediction an item. No items give 0.

    Raises:
        ValueError: when there are not as many predictions as references.
        UserError: when the installed ``tree-sitter-python`` does not fit ``codebleu``.
    """
    _check_lengths(references, predictions)
    if not references:
        return _compose(0.0, 0.0, 0.0, 0.0)
    reference_tokens = [tokenize(text) for text in references]
    prediction_tokens = [tokenize(text) for text in predictions]
    reference_code = [without_comments(ascii_only(text.strip())) for text in references]
    prediction_code = [without_comments(ascii_only(text.strip())) for text in predictions]
    return _compose(
        _precision(reference_tokens, prediction_tokens),
        _weighted_recall(reference_tokens, prediction_tokens),
        # "ruby" only turns off the package's own comment remover; the grammar is the one passed.
        _syntax(reference_code, prediction_code, remover="ruby"),
        _dataflow(reference_code, prediction_code),
    )


def codebleu_items(references: Sequence[str], predictions: Sequence[str]) -> list[float]:
    """Return ``codebleu``'s score of each pair by itself, for statistics over items."""
    _check_lengths(references, predictions)
    return [codebleu([pair[0]], [pair[1]]).score for pair in zip(references, predictions, strict=True)]


def codebleu_flat(references: Sequence[str], predictions: Sequence[str]) -> CodeBleu:
    """Return corpus-level CodeBLEU the way the paper's replication package computes it. No items give 0.

    Texts are flattened to one line by ``exact_match.normalise``, so that most code of several lines no longer parses;
    tokens are words between white space; a corpus without data flow scores 0 there; and, as CodeXGLUE's evaluator
    does for every language, Java's comments are removed (``//`` and all that follows it). Apart from the independence
    of the hash seed, the components are the package's own.

    Raises:
        ValueError: when there are not as many predictions as references.
        UserError: when the installed ``tree-sitter-python`` does not fit ``codebleu``.
    """
    _check_lengths(references, predictions)
    return _codexglue([normalise(text) for text in references], [normalise(text) for text in predictions])


def _codexglue(references: Sequence[str], predictions: Sequence[str]) -> CodeBleu:
    if not references:
        return _compose(0.0, 0.0, 0.0, 0.0)
    reference_words = [text.split() for text in references]
    prediction_words = [text.split() for text in predictions]
    dataflow = _dataflow(
        [remove_comments_and_docstrings(text, "java") for text in references],
        [remove_comments_and_docstrings(text, "java") for text in predictions],
    )
    return _compose(
        bleu.corpus_bleu([[words] for words in reference_words], prediction_words),
        weighted_ngram_match.corpus_bleu(
            [[[words, _weights(words, keyword=1, other=0.2)]] for words in reference_words], prediction_words
        ),
        _syntax(references, predictions, remover="java"),
        dataflow or 0.0,
    )


def _compose(ngram: float, weighted_ngram: float, syntax: float, dataflow: float | None) -> CodeBleu:
    parts = [part for part in (ngram, weighted_ngram, syntax, dataflow) if part is not None]
    return CodeBleu(
        score=100 * fmean(parts),
        ngram=100 * ngram,
        weighted_ngram=100 * weighted_ngram,
        syntax=100 * syntax,
        dataflow=None if dataflow is None else 100 * dataflow,
    )


def _precision(references: list[list[str]], predictions: list[list[str]]) -> float:
    if not any(references) and not any(predictions):
        return 1.0
    brevity = bleu.brevity_penalty(sum(map(len, references)), sum(map(len, predictions)))
    pairs = list(zip(references, predictions, strict=True))
    return brevity * _mean_ratio(
        [bleu.modified_precision([reference], prediction, n) for reference, prediction in pairs if len(prediction) >= n]
        for n in _ORDERS
    )


def _weighted_recall(references: list[list[str]], predictions: list[list[str]]) -> float:
    if not any(references):
        return 0.0 if any(predictions) else 1.0
    # Five times the package's weights: the same ratio, and its floor of 1 under a short text's total never applies.
    weighted = [[tokens, _weights(tokens, keyword=5, other=1)] for tokens in references]
    pairs = list(zip(weighted, predictions, strict=True))
    return _mean_ratio(
        [weighted_ngram_match.modified_recall([ref], prediction, n) for ref, prediction in pairs if len(ref[0]) >= n]
        for n in _ORDERS
    )


def _mean_ratio(orders: Iterable[list[tuple[float, float]]]) -> float:
    """Return the smoothed geometric mean over n-gram orders of matches / total, each a list of an item's counts."""
    sums = [
        (sum(matches), sum(totals)) for matches, totals in (zip(*counts, strict=True) for counts in orders if counts)
    ]
    if not sums or sums[0][0] == 0:
        return 0.0
    return math.exp(fmean(math.log(matches / total) for matches, total in bleu.SmoothingFunction().method1(sums)))


def _syntax(references: Sequence[str], predictions: Sequence[str], *, remover: str) -> float:
    return syntax_match.corpus_syntax_match(
        [[reference] for reference in references], predictions, remover, tree_sitter_language=language()
    )


def _dataflow(references: Sequence[str], predictions: Sequence[str]) -> float | None:
    matches = total = 0
    for reference, prediction in zip(references, predictions, strict=True):
        edges = Counter(data_flow(reference))
        if edges:
            total += edges.total()
            matches += (edges & Counter(data_flow(prediction))).total()
    return matches / total if total else None


def _weights(tokens: list[str], *, keyword: float, other: float) -> dict[str, float]:
    return {token: keyword if token in _keywords() else other for token in tokens}


@cache
def _keywords() -> frozenset[str]:
    return frozenset(files("codebleu").joinpath("keywords", "python.txt").read_text(encoding="utf-8").split())


def _check_lengths(references: Sequence[str], predictions: Sequence[str]) -> None:
    if len(references) != len(predictions):
        raise ValueError(f"{len(references)} references, but {len(predictions)} predictions")
