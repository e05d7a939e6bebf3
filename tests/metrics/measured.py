"""CodeBLEU and chrF of whole corpora, as their entries count and compose them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from raypeft.metrics.entries import METRICS


@dataclass(frozen=True)
class CodeBleu:
    """A CodeBLEU score and its components, in percent; no data flow where no reference has any."""

    score: float
    ngram: float
    weighted_ngram: float
    syntax: float
    dataflow: float | None


def codebleu(references: Sequence[str], predictions: Sequence[str]) -> CodeBleu:
    """Of one prediction an item."""
    return CodeBleu(**_block("codebleu", references, predictions))


def codebleu_flat(references: Sequence[str], predictions: Sequence[str]) -> CodeBleu:
    """The way the paper's numbers were made."""
    return CodeBleu(**_block("codebleu_flat", references, predictions))


def codebleu_items(references: Sequence[str], predictions: Sequence[str]) -> list[float]:
    """The score of each pair by itself."""
    metric = METRICS["codebleu"]
    return [float(score) for score in metric.score(metric.count(references, predictions))]


def chrf(references: Sequence[str], predictions: Sequence[str]) -> float:
    """Corpus-level chrF2."""
    return float(_block("chrf", references, predictions))


def _block(key: str, references: Sequence[str], predictions: Sequence[str]) -> Any:
    return METRICS[key].block(METRICS[key].count(references, predictions))
