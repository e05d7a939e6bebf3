"""The paper's numbers beside ours: for each place in its tables and figures both values, or why one is missing."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from statistics import fmean
from typing import Any

from raypeft.report.numbers.cells import CellRow, Metrics
from raypeft.report.numbers.gather import Numbers
from raypeft.spec.catalogue import shipped_catalogue
from raypeft.spec.loading import PACKAGE, read_yaml
from raypeft.spec.plan import Cell
from raypeft.spec.resolve import FIRST_POINT, PACKAGES_POINT

ICL = "icl"
JOINT = "joint"
OTHER_POINTS = (PACKAGES_POINT, FIRST_POINT)
NOT_HERE = "not in this study"
NOT_STATED = "the paper draws it and does not state it"


@cache
def published() -> Mapping[str, Any]:
    """Content of the catalogue's `paper.yaml`."""
    return read_yaml(PACKAGE / "catalogue" / "paper.yaml")


@dataclass(frozen=True)
class Compared:
    """One number of the paper, or a place for one, and ours.

    Attributes:
        ours, paper: the values, none where there is none.
        missing: why ours or the paper's is missing.
    """

    ours: float | None
    paper: float | None
    missing: str | None

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's."""
        return None if self.ours is None or self.paper is None else self.ours - self.paper


@dataclass(frozen=True)
class PaperRow:
    """One row of a table of the paper, on both of its test sets.

    Attributes:
        technique: short name; `joint` for one adapter trained on both data sets, `icl` for in-context learning.
        parameters: the paper's number of trained parameters, as it prints it.
        cells: our results by test set, where the study has them.
        values: by test set and metric.
    """

    model: str
    technique: str
    parameters: str | None
    cells: Mapping[str, CellRow]
    values: Mapping[tuple[str, str], Compared]

    @property
    def here(self) -> bool:
        """Whether the study has any of it."""
        return any(value.missing != NOT_HERE for value in self.values.values())

    @property
    def missing(self) -> str | None:
        """Why numbers are missing, test set by test set where the reasons differ."""
        reasons = {(test_set, value.missing) for (test_set, _), value in self.values.items() if value.missing}
        if len({reason for _, reason in reasons}) == 1 and len(reasons) == len({place for place, _ in self.values}):
            return next(reason for _, reason in reasons)
        titles = published()["datasets"]
        return "; ".join(f"{titles[place]['title']}: {reason}" for place, reason in sorted(reasons)) or None


class Paper:
    """The paper's tables and figures, filled with the numbers of a run."""

    def __init__(self, numbers: Numbers) -> None:
        self.numbers = numbers
        self._rows = {(row.cell, row.test_set): row for row in numbers.cells}

    @cached_property
    def table3(self) -> list[PaperRow]:
        """RQ1: models and techniques, trained and tested on one data set at a time."""
        return [
            self._tuned(model, technique, values, self._cells(model, technique))
            for model, techniques in published()["table3"].items()
            for technique, values in techniques.items()
        ]

    @cached_property
    def table4(self) -> list[PaperRow]:
        """RQ3: LoRA on one data set at a time, and on both together."""
        single = {row.model: row for row in self.table3 if row.technique == "lora"}
        return [
            row
            for model, values in published()[JOINT].items()
            for row in (single[model], self._tuned(model, JOINT, values, self._cells(model, "lora", JOINT)))
        ]

    @cached_property
    def figure4(self) -> list[PaperRow]:
        """RQ2: of each model LoRA, and the best number of examples, metric by metric."""
        single = [row for row in self.table3 if row.technique == "lora"]
        return [row for lora in single for row in (lora, self._icl(lora.model))]

    @cached_property
    def figure5(self) -> list[PaperRow]:
        """RQ4: EM@10 of Code Llama with LoRA and QLoRA."""
        single = {(row.model, row.technique): row for row in self.table3}
        rows = []
        for model, techniques in published()["figure5"].items():
            for technique, stated in techniques.items():
                known = single.get((model, technique))
                values = {test_set: {"em@10": value} for test_set, value in stated.items()}
                rows.append(
                    known or self._row(model, technique, self._cells(model, technique, None), values, ("em@10",))
                )
        return rows

    @property
    def here(self) -> bool:
        """Whether the study has any of the paper's cells."""
        return any(row.here for row in (*self.table3, *self.table4, *self.figure4, *self.figure5))

    def memory(self, model: str, technique: str) -> Compared:
        """Peak memory of training in GiB, the larger of the two data sets; the paper's is the bound that it states."""
        rows = self._cells(model, technique).values()
        found = [peak / 1024 for row in rows if (peak := row.selection.peak_memory_mib)]
        stated = published()["memory_at_most"].get(model, {}).get(technique)
        if found:
            return Compared(max(found), stated, None if stated else NOT_STATED)
        return Compared(None, stated, next((_reason(row) for row in rows), NOT_HERE))

    def gains(self) -> Iterator[tuple[list[str], str, str, Compared]]:
        """Models, test set, metric, and what LoRA gains over in-context learning there: relative, in percent."""
        rows = {(row.model, row.technique): row for row in self.figure4}
        for entry in published()["gains"]:
            for test_set in published()["datasets"]:
                for metric, stated in entry.get(test_set, {}).items():
                    pairs = [
                        (rows[model, "lora"].values[test_set, metric], rows[model, ICL].values[test_set, metric])
                        for model in entry["models"]
                    ]
                    yield entry["models"], test_set, metric, _gain(pairs, stated)

    def remarks(self) -> list[str]:
        """What makes our numbers others than the paper's by the study's own making, one sentence each."""
        study, found = self.numbers.run.plan.resolved.study, []
        for test_set, facts in published()["datasets"].items():
            sizes = {row.items for (_, name), row in self._rows.items() if name == test_set and row.items}
            if sizes - {facts["test_items"]}:
                found.append(f"{facts['title']}: tested on {max(sizes):,} items, the paper on {facts['test_items']:,}.")
        if limits := [f"{size:,} {split}" for split in ("train", "validation") if (size := getattr(study.data, split))]:
            found.append(f"Data limited to {' and '.join(limits)} items.")
        name_of = self.numbers.run.plan.resolved.point_name
        points = Counter(
            name_of(row.cell.technique, row.selection.point) for row in self._rows.values() if row.selection.trial
        )
        for name, origin in ((None, "a point that the search found"), *((name, name) for name in OTHER_POINTS)):
            if points[name]:
                found.append(f"{points[name]} of our results come from {origin}, not the paper's.")
        return found

    def _tuned(self, model: str, name: str, values: Mapping[str, Any], cells: Mapping[str, CellRow]) -> PaperRow:
        metrics = published()["metrics"]
        stated = {place: dict(zip(metrics, values[place], strict=True)) for place in published()["datasets"]}
        return self._row(model, name, cells, stated, metrics, values.get("parameters"))

    def _cells(self, model: str, technique: str, dataset: str | None = None) -> dict[str, CellRow]:
        places = ((test_set, Cell(model, dataset or test_set, technique)) for test_set in published()["datasets"])
        return {place: self._rows[cell, place] for place, cell in places if (cell, place) in self._rows}

    def _row(
        self,
        model: str,
        technique: str,
        cells: Mapping[str, CellRow],
        stated: Mapping[str, Mapping[str, float]],
        metrics: Sequence[str],
        parameters: str | None = None,
    ) -> PaperRow:
        def compared(test_set: str, metric: str) -> Compared:
            cell, paper = cells.get(test_set), stated.get(test_set, {}).get(metric)
            return _compared(cell.metrics if cell else {}, metric, paper, _reason(cell) if cell else NOT_HERE)

        places = [(test_set, metric) for test_set in published()["datasets"] for metric in metrics]
        return PaperRow(model, technique, parameters, cells, {place: compared(*place) for place in places})

    def _icl(self, model: str) -> PaperRow:
        values = {}
        for test_set in published()["datasets"]:
            stated = published()["figure4"].get(model, {}).get(test_set, {})
            rows = [row for row in self.numbers.icl if (row.model, row.dataset) == (model, test_set) and row.examples]
            reason = next((row.note for row in rows if row.note), None) or self._no_icl(model, test_set)
            for metric in ("em@10", "codebleu_flat"):
                best = max((row.metrics[metric].mean for row in rows if metric in row.metrics), default=None)
                values[test_set, metric] = _compared({metric: best}, metric, stated.get(metric), reason)
        return PaperRow(model, ICL, None, {}, values)

    def _no_icl(self, model: str, test_set: str) -> str:
        resolved = self.numbers.run.plan.resolved
        if resolved.study.icl is None or model not in resolved.models or test_set not in resolved.datasets:
            return NOT_HERE
        return resolved.study.icl.skipped(model, test_set) or NOT_HERE


def title(model: str) -> str:
    """A model's title in the catalogue."""
    return shipped_catalogue().models[model].title


def _compared(metrics: Metrics, metric: str, paper: float | None, reason: str) -> Compared:
    ours = metrics.get(metric)
    return Compared(ours, paper, reason if ours is None else NOT_STATED if paper is None else None)


def _reason(row: CellRow) -> str:
    return f"{row.state}: {row.note}" if row.note else "not computed"


def _gain(pairs: list[tuple[Compared, Compared]], stated: float) -> Compared:
    ours = [(tuned.ours, icl.ours) for tuned, icl in pairs]
    gains = [100 * (tuned / icl - 1) for tuned, icl in ours if tuned is not None and icl]
    if len(gains) == len(pairs):
        return Compared(fmean(gains), stated, None)
    missing = [reason for pair in pairs for value in pair if (reason := value.missing) and value.ours is None]
    return Compared(None, stated, next(iter(missing), "a result of 0 has no relative gain"))
