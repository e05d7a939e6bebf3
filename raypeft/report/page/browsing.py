"""Predictions to browse in the page: the same items for every system, as compact JSON that no text can break out of."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from raypeft.metrics.exact_match import normalise
from raypeft.output.text import printable
from raypeft.report.numbers.gather import Numbers
from raypeft.report.numbers.weighing import SEED
from raypeft.runs.records import Prediction

# Characters of all predictions together that a page carries; beyond, it has a seeded part of the items.
BUDGET = 6_000_000


@dataclass(frozen=True)
class Browsable:
    """What a page carries of the predictions.

    Attributes:
        data: for the script, JSON that is safe inside an element of the page.
        shown, total: items of each test set in the page, and in the run.
    """

    data: str
    shown: dict[str, int]
    total: dict[str, int]

    @property
    def complete(self) -> bool:
        """Whether no item is left out."""
        return self.shown == self.total


@dataclass(frozen=True)
class _System:
    title: str
    test_set: str
    rows: Sequence[Prediction]


def browsable(numbers: Numbers, budget: int = BUDGET) -> Browsable:
    """Predictions of every tested cell, and of in-context learning at its best number of examples, first seed.

    Args:
        numbers: of the run.
        budget: characters of predictions at most.
    """
    systems = list(_systems(numbers))
    sizes: dict[str, int] = {}
    for system in systems:
        sizes[system.test_set] = max(sizes.get(system.test_set, 0), len(system.rows))
    cost = sum(_cost(row) for system in systems for row in system.rows)
    share = min(1.0, budget / max(cost, 1))
    chosen = {name: _chosen(size, share) for name, size in sizes.items()}
    test_sets = [
        {
            "title": numbers.run.plan.resolved.datasets[name].title,
            "items": _items([system for system in systems if system.test_set == name], places),
            "systems": [
                {"title": printable(system.title), "rows": [_row(system.rows, place) for place in places]}
                for system in systems
                if system.test_set == name
            ],
        }
        for name, places in chosen.items()
    ]
    data = json.dumps(test_sets, ensure_ascii=True, separators=(",", ":"))
    # Inside a script element only these could end it or begin a comment; JSON may hold them as escapes.
    for character in "<>&":
        data = data.replace(character, f"\\u{ord(character):04x}")
    return Browsable(data, {name: len(places) for name, places in chosen.items()}, sizes)


def _systems(numbers: Numbers) -> Iterator[_System]:
    run, resolved = numbers.run, numbers.run.plan.resolved
    for row in numbers.cells:
        if rows := run.predictions(run.predictions_file(row.cell, row.test_set)):
            joint = (
                "" if row.test_set == row.cell.dataset else f", trained on {resolved.datasets[row.cell.dataset].title}"
            )
            title = f"{resolved.models[row.cell.model].title}, {numbers.technique(row)}{joint}"
            yield _System(title, row.test_set, rows)
    for icl in numbers.icl:
        jobs = [job for job in run.plan.icl_jobs if (job.model, job.dataset, job.examples) == icl.key]
        if icl.best and icl.seeds:
            job = next(job for job in jobs if job.seed == icl.seeds[0])
            if rows := run.predictions(run.icl_file(job).with_suffix(".jsonl")):
                title = f"{resolved.models[icl.model].title}, ICL with {icl.shots}, seed {job.seed}"
                yield _System(title, icl.dataset, rows)


def _cost(row: Prediction) -> int:
    return sum(len(text) + 12 for text in row.candidates)


def _chosen(size: int, share: float) -> list[int]:
    wanted = size if share >= 1 else max(1, int(size * share))
    return sorted(Random(SEED).sample(range(size), wanted))


def _items(systems: Sequence[_System], places: Sequence[int]) -> list[list[str]]:
    longest = max(systems, key=lambda system: len(system.rows)).rows
    shown = ((row.id, row.intent, row.reference) for row in (longest[place] for place in places))
    return [[printable(str(text)) for text in texts] for texts in shown]


def _row(rows: Sequence[Prediction], place: int) -> list[Any]:
    """Candidates, their scores, and the ranks of those that match, from 1."""
    if place >= len(rows):
        return [[], [], []]
    row = rows[place]
    target = normalise(row.reference)
    matches = [rank for rank, text in enumerate(row.candidates, start=1) if normalise(text) == target]
    scores = [round(score, 3) for score in row.scores]
    return [[printable(text) for text in row.candidates], scores, matches]
