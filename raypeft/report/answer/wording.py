"""How the answer words differences and what they go by."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from raypeft.output.text import count, joined, points
from raypeft.report.numbers.cells import CellRow
from raypeft.report.numbers.contrasts import contrasts
from raypeft.report.numbers.gather import Numbers
from raypeft.report.numbers.icl import IclRow

ENUMERATED = 3
Relation = Literal["above", "below", "not told apart from"]


@dataclass(frozen=True)
class Difference:
    """Points of EM@k that a system is above another.

    Attributes:
        place: where, in words that follow "for".
        details: what else a reader has to know of it.
    """

    place: str
    gap: float
    relation: Relation
    details: str = ""


def relation(numbers: Numbers, first: CellRow, second: CellRow | IclRow) -> Relation:
    """How the first stands to the second by their corrected test."""
    found = numbers.evidence.between(first, second, numbers.metric)
    if found is None or not found.supported:
        return "not told apart from"
    return "above" if found.difference > 0 else "below"


def standing(head: str, other: str, differences: Sequence[Difference]) -> str:
    """Where something is above, below or not told apart from another: each place if they are few, else their numbers.

    Args:
        head: the subject and its verb.
        other: what it is compared with.
        differences: at least one.
    """
    few = len(differences) <= ENUMERATED
    parts: list[str] = []
    for wanted in ("above", "below", "not told apart from"):
        members = [one for one in differences if one.relation == wanted]
        if members:
            places = joined([f"for {one.place} ({points(one.gap)} points{one.details})" for one in members])
            what = "it" if parts else other
            parts.append(f"{wanted} {what} {places if few else f'in {len(members)}'}")
    if few:
        return f"{head} {joined(parts)}"
    gaps = [one.gap for one in differences]
    span = f"differences from {points(min(gaps))} to {points(max(gaps))} points, median {points(median(gaps))}"
    return f"{head} {joined(parts)} of {len(differences)} comparisons ({span})"


def rivals(numbers: Numbers, best: CellRow, others: Sequence[CellRow]) -> list[CellRow] | None:
    """Those of the others that no corrected test tells apart from the best one; none where nothing could be tested."""
    if not any(numbers.evidence.between(best, other, numbers.metric) for other in others):
        return None
    return [other for other in others if relation(numbers, best, other) == "not told apart from"]


def caution(numbers: Numbers) -> str:
    """What the answer goes by."""
    family = [found for found in numbers.evidence.comparisons if found.metric == numbers.metric]
    if len(family) == 1:
        return f"this goes by a paired test on {_items(numbers)} test items, at 5 %"
    if family:
        return (
            f"this goes by {count(len(family))} paired tests on {_items(numbers)} test items, "
            "at 5 % after Holm's correction for their number"
        )
    if contrasts(numbers):
        return f"nothing could be tested: the {_items(numbers)} test items have no comparable predictions"
    return f"there is nothing to compare with{' yet' if numbers.tested < len(numbers.states) else ''}"


def _items(numbers: Numbers) -> str:
    sizes = sorted({row.items for row in numbers.measured if row.items})
    return joined([count(size) for size in sizes]) if len(sizes) < 3 else f"{count(sizes[0])} to {count(sizes[-1])}"
