"""The run folder: one execution of a study, all that is known of it on disk."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from raypeft.errors import UserError
from raypeft.files import append_line, read_json, read_lines
from raypeft.spec.plan import Cell, IclJob, Plan
from raypeft.spec.resolve import ResolvedStudy


@dataclass(frozen=True)
class Run:
    """Paths and contents of a run folder; reading needs neither torch nor ray.

    `reports.jsonl` and `trials.jsonl` are the record of the sweep: what stands there has happened.
    """

    folder: Path

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """An existing run.

        Raises:
            UserError: the folder holds no run.
        """
        run = cls(folder.resolve())
        if not run.study_file.exists():
            raise UserError(
                "holds no run: there is no study.yaml", where=str(folder), hint="Start one: raypeft study NAME"
            )
        return run

    @property
    def study_file(self) -> Path:
        """The resolved study, frozen."""
        return self.folder / "study.yaml"

    @property
    def manifest_file(self) -> Path:
        """Versions, hardware, data hashes, hub revisions, seeds."""
        return self.folder / "manifest.json"

    @property
    def reports_file(self) -> Path:
        """One line a report."""
        return self.folder / "reports.jsonl"

    @property
    def trials_file(self) -> Path:
        """One line an ended trial."""
        return self.folder / "trials.jsonl"

    @property
    def optuna_file(self) -> Path:
        """Optuna's journal storage: one Optuna study a cell."""
        return self.folder / "optuna.log"

    @property
    def events_file(self) -> Path:
        """What befell the run: interruptions, damaged files, workers that died."""
        return self.folder / "events.jsonl"

    @property
    def stop_file(self) -> Path:
        """There while the driver asks running trials to write a checkpoint and stop."""
        return self.folder / "stop"

    @property
    def report_folder(self) -> Path:
        """The written report."""
        return self.folder / "report"

    @property
    def tensorboard_folder(self) -> Path:
        """One TensorBoard run a trial."""
        return self.folder / "tensorboard"

    @property
    def dashboard_file(self) -> Path:
        """Where Ray's dashboard is, while there is one."""
        return self.folder / "dashboard.json"

    @property
    def begun(self) -> bool:
        """Whether a trial or job may have left something in it."""
        started = (self.reports_file, self.trials_file, *(self.folder / name for name in ("trials", "cells", "icl")))
        return any(path.exists() for path in started)

    @cached_property
    def plan(self) -> Plan:
        """The plan of the frozen study, what is on the hub at the commits that the manifest records."""
        return Plan(ResolvedStudy.load(self.study_file).pinned(self.manifest().get("revisions", {})))

    def trial_folder(self, name: str) -> Path:
        """Checkpoints of a trial: `checkpoint-<step>` folders, each with a `report.json` written last."""
        return self.folder / "trials" / name

    def trial_log(self, name: str) -> Path:
        """What a trial and the libraries under it said."""
        return self.trial_folder(name) / "log.txt"

    def cell_folder(self, cell: Cell) -> Path:
        """Results of a cell: `best/`, `selection.json`, `test.json`, `predictions.jsonl`."""
        return self.folder / "cells" / cell.id

    def test_file(self, cell: Cell, dataset: str | None = None) -> Path:
        """Result of a cell's test: `test.json`, or `test-<dataset>.json` for a test set of a joint data set."""
        return self.cell_folder(cell) / f"test{_suffix(cell, dataset)}.json"

    def predictions_file(self, cell: Cell, dataset: str | None = None) -> Path:
        """Predictions of a cell's test, named like its result."""
        return self.cell_folder(cell) / f"predictions{_suffix(cell, dataset)}.jsonl"

    def icl_file(self, job: IclJob) -> Path:
        """Result of an ICL job; its predictions lie beside it as `.jsonl`."""
        return self.folder / "icl" / f"{job.id}.json"

    def manifest(self) -> dict[str, Any]:
        """Content of the manifest, empty before it is written."""
        return read_json(self.manifest_file) or {}

    def reports(self) -> Iterator[dict[str, Any]]:
        """Reports in the order the driver received them."""
        return read_lines(self.reports_file)

    def trials(self) -> Iterator[dict[str, Any]]:
        """Ended trials in the order they ended."""
        return read_lines(self.trials_file)

    def events(self) -> Iterator[dict[str, Any]]:
        """What befell the run, oldest first."""
        return read_lines(self.events_file)

    def note(self, text: str, **where: Any) -> None:
        """Write down something that befell the run, or one of its trials."""
        append_line(self.events_file, {"time": time.time(), "text": text, **where})

    def selection(self, cell: Cell) -> dict[str, Any] | None:
        """The selected trial and checkpoint of a cell, or why there is none."""
        return read_json(self.cell_folder(cell) / "selection.json")

    def taken(self, cell: Cell) -> dict[str, Any] | None:
        """Origin, reports and trials of a cell that was taken over from another run; none for a cell run here."""
        return read_json(self.cell_folder(cell) / "taken.json")

    def test(self, cell: Cell, dataset: str | None = None) -> dict[str, Any] | None:
        """Result of a cell's test on its own data set, or on one of those that its own one joins."""
        return read_json(self.test_file(cell, dataset))

    def icl(self, job: IclJob) -> dict[str, Any] | None:
        """Result of an ICL job."""
        return read_json(self.icl_file(job))


def scores_file(predictions: Path) -> Path:
    """What each item of a file of predictions contributes to every metric (`raypeft.metrics.items.ItemScores`)."""
    return predictions.with_suffix(".items.npz")


def _suffix(cell: Cell, dataset: str | None) -> str:
    return "" if dataset in (None, cell.dataset) else f"-{dataset}"
