"""Exact match of generated code, as text and as syntax tree."""

import ast
import warnings
from collections.abc import Callable, Sequence

KS = (1, 2, 5, 10)


def normalise(text: str) -> str:
    r"""Bring a text into the form in which two texts are compared, and in which CodeBLEU's flat variant reads it.

    White space around the text is stripped, then each newline and each tab becomes one space. Runs of spaces are not
    collapsed and ``\r`` inside the text stays. The replication package strips the prediction only, so that a reference
    with white space around it can never be matched. Here both sides are stripped; the paper's two data sets hold no
    such reference, so their numbers are the same either way.
    """
    return text.strip().replace("\n", " ").replace("\t", " ")


def match_rank(reference: str, candidates: Sequence[str]) -> int | None:
    """Return the 1-based rank of the first candidate that equals the reference after ``normalise``, or None."""
    target = normalise(reference)
    return _first(candidates, lambda candidate: normalise(candidate) == target)


def ast_match_rank(reference: str, candidates: Sequence[str]) -> int | None:
    """Return the 1-based rank of the first candidate that is the same program as the reference, or None.

    Same program means an equal abstract syntax tree: layout, comments, quotes, a string's ``u`` prefix and redundant
    parentheses do not count, names and docstrings do. Texts equal after ``normalise`` match whether or not they parse,
    so that this rank is never worse than ``match_rank``'s; any other text that Python cannot parse matches nothing.
    """
    text, tree = normalise(reference), _tree(reference)
    return _first(
        candidates,
        lambda candidate: normalise(candidate) == text or (tree is not None and _tree(candidate) == tree),
    )


def exact_match(ranks: Sequence[int | None], ks: Sequence[int] = KS) -> dict[int, float]:
    """Return EM@k in percent for each k: the share of items whose rank is at most k. No items give 0."""
    return {k: 100 * sum(rank is not None and rank <= k for rank in ranks) / max(len(ranks), 1) for k in ks}


def _first(candidates: Sequence[str], matches: Callable[[str], bool]) -> int | None:
    return next((rank for rank, candidate in enumerate(candidates, start=1) if matches(candidate)), None)


def _tree(code: str) -> str | None:
    try:
        with warnings.catch_warnings():
            # Generated code is full of doubtful escapes and comparisons; the warnings would be about the model's text.
            warnings.simplefilter("ignore")
            tree = ast.parse(code.strip())
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant):
                node.kind = None
        return ast.dump(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # the last two: nested too deeply for the parser
        return None
