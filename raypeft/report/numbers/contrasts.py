"""Contrasts: which systems of a report are compared with each other, on test items that both were tested on."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from raypeft.report.numbers.cells import CellRow
from raypeft.report.numbers.evidence import key_of
from raypeft.report.numbers.gather import Numbers
from raypeft.report.numbers.icl import IclRow

Contrast = tuple[CellRow, CellRow | IclRow]


@dataclass(frozen=True)
class Leader:
    """The best cell of a group of models on one test set.

    Attributes:
        title: the group's name in quotes; the model's title where the study has no groups.
    """

    title: str
    row: CellRow


def contrasts(numbers: Numbers) -> list[Contrast]:
    """Everything that is compared, each pair of systems once, as far as both have a result.

    Inside a model, data set and test set every technique meets every other and in-context learning at every number of
    examples; a joint cell meets the cell that was trained on the test set's own data; the best cell of each group of
    models meets that of every other group.
    """
    found: dict[frozenset[object], Contrast] = {}
    for contrast in (*_inside(numbers), *joint_contrasts(numbers), *_between_leaders(numbers)):
        found.setdefault(frozenset(key_of(row) for row in contrast), contrast)
    return list(found.values())


def joint_contrasts(numbers: Numbers) -> list[tuple[CellRow, CellRow]]:
    """Each tested joint cell beside the cell of the same model and technique on the test set's own data."""
    own = {
        (row.cell.model, row.cell.technique, row.test_set): row
        for row in numbers.measured
        if row.cell.dataset == row.test_set
    }
    found = []
    for row in numbers.measured:
        single = own.get((row.cell.model, row.cell.technique, row.test_set))
        if single is not None and single is not row:
            found.append((row, single))
    return found


def leaders(numbers: Numbers) -> dict[tuple[str, str], list[Leader]]:
    """By data set and test set, the best cell of each group of models, where cells of two groups are tested."""
    found: dict[tuple[str, str], list[Leader]] = {}
    for title, members in _groups(numbers):
        best: dict[tuple[str, str], CellRow] = {}
        for row in numbers.measured:
            place = row.cell.dataset, row.test_set
            if (row.cell.model, row.cell.technique) in members:
                best[place] = max(best.get(place, row), row, key=lambda one: one.metrics[numbers.metric] or 0.0)
        for place, row in best.items():
            others = found.setdefault(place, [])
            if all(other.row is not row for other in others):
                others.append(Leader(title, row))
    return {place: several for place, several in found.items() if len(several) > 1}


def is_grouped(numbers: Numbers) -> bool:
    """Whether the study has several groups of models; without, each model is one."""
    models = numbers.run.plan.resolved.study.models
    return isinstance(models, dict) and len(models) > 1


def _groups(numbers: Numbers) -> list[tuple[str, set[tuple[str, str]]]]:
    """Title and (model, technique) pairs of every group of models."""
    resolved = numbers.run.plan.resolved
    if is_grouped(numbers):
        groups = [(f"“{group}”", pairs) for group, pairs in resolved.study.grouped_pairs().items()]
    else:
        pairs = resolved.study.pairs()
        groups = [
            (entry.title, [pair for pair in pairs if pair[0] == model]) for model, entry in resolved.models.items()
        ]
    return [(title, {(model, Path(name).stem) for model, name in group}) for title, group in groups]


def _inside(numbers: Numbers) -> Iterator[Contrast]:
    for pair in numbers.pairs:
        icl = [row for row in pair.icl if numbers.metric in row.metrics]
        for place, first in enumerate(pair.measured):
            others: list[CellRow | IclRow] = [*pair.measured[place + 1 :], *icl]
            yield from ((first, second) for second in others)


def _between_leaders(numbers: Numbers) -> Iterator[Contrast]:
    for several in leaders(numbers).values():
        yield from combinations([leader.row for leader in several], 2)
