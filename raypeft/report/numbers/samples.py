"""A sample of a cell's predictions."""

from collections.abc import Sequence
from dataclasses import dataclass

from raypeft.metrics.exact_match import match_rank
from raypeft.runs.folder import Run
from raypeft.spec.plan import Cell

SAMPLE = 20


@dataclass(frozen=True)
class Sample:
    """One test item: its intent, reference, and the candidates that were returned, best first.

    Attributes:
        rank: of the first candidate that matches the reference, from 1; none where none does.
    """

    id: str
    intent: str
    reference: str
    candidates: Sequence[str]
    rank: int | None


def read_samples(run: Run, cell: Cell, dataset: str) -> list[Sample]:
    """The first items of a cell's test on a data set; empty before it is tested."""
    rows = run.predictions(run.predictions_file(cell, dataset))[:SAMPLE]
    return [
        Sample(
            id=str(row.id),
            intent=row.intent,
            reference=row.reference,
            candidates=row.candidates,
            rank=match_rank(row.reference, row.candidates),
        )
        for row in rows
    ]
