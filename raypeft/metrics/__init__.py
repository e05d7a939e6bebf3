"""The metrics of a test: exact match, CodeBLEU and chrF of ranked candidates against one reference an item."""

from collections.abc import Mapping, Sequence
from typing import Any

from raypeft.metrics.exact_match import KS, ast_match_rank, exact_match, match_rank, normalise

__all__ = ["KS", "ast_match_rank", "exact_match", "flatten", "match_rank", "normalise", "score"]


def score(references: Sequence[str], candidates: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return every metric of a test set, in percent and unrounded: the metric block of a ``test.json``.

    ``em@k`` and ``em_ast@k`` are there for each k in ``KS`` up to the largest number of candidates an item has.
    The others, one an entry of ``entries.METRICS``, are of each item's first candidate; an item without candidates
    counts as an empty prediction.

    Args:
        references: one text an item.
        candidates: for each item its candidates, best first.

    Returns:
        ``{"items", "em@1", …, "em_ast@1", …, "codebleu": {"score", "ngram", "weighted_ngram", "syntax", "dataflow"},
        "codebleu_flat": the same keys, "chrf", …}``, fit for JSON.

    Raises:
        ValueError: when there are not as many lists of candidates as references.
        UserError: when the installed ``tree-sitter-python`` does not fit ``codebleu``.
    """
    from raypeft.metrics.items import measure

    return measure([""] * len(references), references, candidates).block()


def flatten(block: Mapping[str, Any]) -> dict[str, float | None]:
    """The metric block of a test as single numbers, ``items`` left out: of a metric with parts its score."""
    return {
        key: value["score"] if isinstance(value, Mapping) else value for key, value in block.items() if key != "items"
    }
