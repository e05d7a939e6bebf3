"""The run folder: one execution of a study, all that is known of it on disk."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from raypeft.errors import UserError
from raypeft.runs.reading import Damaged, Reading, append_record, parse, write_record
from raypeft.runs.records import (
    Event,
    Failure,
    IclResult,
    Manifest,
    OfTrial,
    Prediction,
    Record,
    Report,
    Selection,
    State,
    Taken,
    TestResult,
    TrialEnd,
)
from raypeft.spec.plan import Cell, IclJob, Plan
from raypeft.spec.resolve import ResolvedStudy
from raypeft.spec.values import quoted

MOST_LISTED = 20  # cells in a message
R = TypeVar("R", bound=OfTrial)


@dataclass(frozen=True)
class Run:
    """Paths and contents of a run folder; reading needs neither torch nor ray.

    `reports.jsonl` and `trials.jsonl` are the record of the sweep: what stands there has happened. What is damaged, or
    is another's, is not given; `reading.faults` says what of the files read so far.
    """

    folder: Path
    reading: Reading = field(default_factory=Reading, compare=False, repr=False)

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
        """What happened to the run: interruptions, damaged files, workers that died."""
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
        return Plan(ResolvedStudy.load(self.study_file).pinned(self.manifest().revisions))

    def trial_folder(self, name: str) -> Path:
        """Checkpoints of a trial: `checkpoint-<step>` folders, each with a `report.json` written last."""
        return self.folder / "trials" / name

    def trial_log(self, name: str) -> Path:
        """What a trial and the libraries under it said."""
        return self.trial_folder(name) / "log.txt"

    def cell_folder(self, cell: Cell) -> Path:
        """Results of a cell: `best/`, `selection.json`, `test.json`, `predictions.jsonl`."""
        return self.folder / "cells" / cell.id

    def selection_file(self, cell: Cell) -> Path:
        """What was selected of a cell."""
        return self.cell_folder(cell) / "selection.json"

    def taken_file(self, cell: Cell) -> Path:
        """Where a cell comes from that was taken over."""
        return self.cell_folder(cell) / "taken.json"

    def test_file(self, cell: Cell, dataset: str | None = None) -> Path:
        """Result of a cell's test: `test.json`, or `test-<dataset>.json` for a test set of a joint data set."""
        return self.cell_folder(cell) / f"test{_suffix(cell, dataset)}.json"

    def predictions_file(self, cell: Cell, dataset: str | None = None) -> Path:
        """Predictions of a cell's test, named like its result."""
        return self.cell_folder(cell) / f"predictions{_suffix(cell, dataset)}.jsonl"

    def icl_file(self, job: IclJob) -> Path:
        """Result of an ICL job; its predictions lie beside it as `.jsonl`."""
        return self.folder / "icl" / f"{job.id}.json"

    def manifest(self) -> Manifest:
        """The manifest, empty before it is written."""
        return self.reading.record(self.manifest_file, Manifest) or Manifest()

    def reports(self) -> Iterator[Report]:
        """Reports in the order the driver received them."""
        return self.reading.rows(self.reports_file, self.report_of)

    def trials(self) -> Iterator[TrialEnd]:
        """Ended trials in the order they ended; of two lines of one trial the later one counts."""
        rows = self.reading.rows(self.trials_file, self.end_of)
        return iter({row.trial: row for row in rows}.values())

    def events(self) -> Iterator[Event]:
        """What happened to the run, oldest first."""
        return self.reading.rows(self.events_file, self.event_of)

    def report_of(self, line: bytes) -> Report:
        """The report of a trial of this run that a line holds.

        Raises:
            Damaged: it holds none.
        """
        report = self._own(Report, line)
        if report.validation_loss is None and not report.end:
            raise Damaged("validation_loss: missing in a report that ends nothing")
        return report

    def end_of(self, line: bytes) -> TrialEnd:
        """The end of a trial of this run that a line holds.

        Raises:
            Damaged: it holds none.
        """
        return self._own(TrialEnd, line)

    @staticmethod
    def event_of(line: bytes) -> Event:
        """The event that a line holds.

        Raises:
            Damaged: it holds none.
        """
        return parse(Event, line)

    def note(self, text: str, trial: str | None = None, cell: Cell | None = None) -> None:
        """Write down something that happened to the run, or to one of its trials or cells."""
        where = {"trial": trial} if trial else {"cell": cell.id} if cell else {}
        append_record(self.events_file, Event(time=time.time(), text=text, **where))

    def selection(self, cell: Cell) -> Selection | None:
        """The selected trial and checkpoint of a cell, or why there is none."""

        def whose(found: Selection) -> str | None:
            if found.files and self._trials.get(str(found.trial)) != (cell.id, found.number):
                return f"selects {found.trial}, which is no trial of {cell.id}"
            return _stranger(found, {"cell": cell.id})

        return self.reading.record(self.selection_file(cell), Selection, whose)

    def taken(self, cell: Cell) -> Taken | None:
        """Origin, reports and trials of a cell that was taken over from another run; none for a cell run here."""

        def whose(found: Taken) -> str | None:
            cells = {report.cell for report in found.reports} | {end.cell for end in found.trials}
            cells -= {cell.id}
            return f"has trials of {min(cells)}" if cells else None

        return self.reading.record(self.taken_file(cell), Taken, whose)

    def test(self, cell: Cell, dataset: str | None = None) -> TestResult | None:
        """Result of a cell's test on its own data set, or on one of those that its own one joins."""

        def whose(found: TestResult) -> str | None:
            own = {"cell": cell.id, "dataset": dataset or cell.dataset}
            if found.predictions_sha256 and (selection := self.selection(cell)):
                own["trial"] = str(selection.trial)
            return _stranger(found, own)

        return self.reading.record(self.test_file(cell, dataset), TestResult, whose)

    def icl(self, job: IclJob) -> IclResult | None:
        """Result of an ICL job."""
        return self.reading.record(self.icl_file(job), IclResult, lambda found: _stranger(found, asdict(job)))

    def failure(self, result: Path) -> Failure | None:
        """Why a job has no result, by the result's file."""
        own = {"job": self.job_name(result)}
        return self.reading.record(error_file(result), Failure, lambda found: _stranger(found, own))

    def fail(self, result: Path, end: State, error: str) -> None:
        """Write down why a job has no result."""
        failure = Failure(job=self.job_name(result), end=end, error=error, time=time.time())
        write_record(error_file(result), failure)

    def faults(self) -> list[str]:
        """What is wrong with the files read so far, one line each."""
        return [f"{path.relative_to(self.folder)}: {fault.what}" for path, fault in sorted(self.reading.faults.items())]

    def job_name(self, result: Path) -> str:
        """A job by its result's place in the run folder."""
        return str(result.with_suffix("").relative_to(self.folder))

    def predictions(self, file: Path) -> list[Prediction]:
        """Rows of a file of predictions: those that its result was computed from, where the result says so."""
        return self.reading.predictions(file, self.digest(file))

    def digest(self, file: Path) -> str | None:
        """SHA-256 of the predictions that a result was computed from, where it says so, by the file they belong in."""
        tested = file.name.startswith("predictions")
        name = file.with_suffix(".json").name.replace("predictions", "test", 1) if tested else f"{file.stem}.json"
        kind: type[TestResult] | type[IclResult] = TestResult if tested else IclResult
        result = Reading().record(file.with_name(name), kind)
        return result.predictions_sha256 if result else None

    @cached_property
    def _trials(self) -> dict[str, tuple[str, int]]:
        """Cell and number of every trial of the plan, by name."""
        numbers = range(self.plan.resolved.study.trials)
        return {cell.trial_name(number): (cell.id, number) for cell in self.plan.cells for number in numbers}

    def _own(self, kind: type[R], line: bytes) -> R:
        record = parse(kind, line)
        if self._trials.get(record.trial) != (record.cell, record.number):
            raise Damaged(f"{record.trial} is no trial of this run")
        return record


def find_cell(run: Run, text: str) -> Cell:
    """The one cell of a run that has every `/`-separated part of `text` as its model, dataset or technique.

    Raises:
        UserError: no cell or several have them; the message lists those there are.
    """
    wanted = {part for part in text.split("/") if part}
    found = [cell for cell in run.plan.cells if wanted <= {cell.model, cell.dataset, cell.technique}]
    if len(found) == 1:
        return found[0]
    what = "could be any of" if found else "is none of"
    cells = found or run.plan.cells
    listed = [f"  {cell.id}" for cell in cells[:MOST_LISTED]]
    listed += [f"  and {len(cells) - MOST_LISTED} more"] * (len(cells) > MOST_LISTED)
    raise UserError(f"{quoted(text)} {what} the cells\n" + "\n".join(listed))


def scores_file(predictions: Path) -> Path:
    """What each item of a file of predictions contributes to every metric (`raypeft.metrics.items.ItemScores`)."""
    return predictions.with_suffix(".items.npz")


def _suffix(cell: Cell, dataset: str | None) -> str:
    return "" if dataset in (None, cell.dataset) else f"-{dataset}"


def error_file(result: Path) -> Path:
    """Where a job writes why it has no result."""
    return result.with_name(f"{result.stem}.error.json")


def _stranger(record: Record, own: Mapping[str, Any]) -> str | None:
    """Whose a record is, where it is not one's own."""
    for name, value in own.items():
        if (found := getattr(record, name)) not in (None, value):
            return f"is of {name} {found}, not of {value}"
    return None
