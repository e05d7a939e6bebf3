"""TensorBoard's view of a sweep: one run a trial, whole across executions of a run."""

import shutil

from tensorboardX import SummaryWriter
from tensorboardX.summary import hparams

from raypeft.runs.folder import Run
from raypeft.runs.ledger import Ledger
from raypeft.runs.records import Report, TrialEnd
from raypeft.spec.plan import Cell

FLUSH_SECONDS = 5
TAGS = {
    "validation_loss": "validation_loss",
    "best_loss": "best_loss",
    "em10": "em_at_10",  # TensorBoard's tags have no @
    "epoch": "epoch",
    "items_per_second": "items_per_second",
    "training_seconds": "training_seconds",
    "evaluation_seconds": "evaluation_seconds",
    "peak_memory_mib": "peak_memory_mib",
    "trainable_parameters": "trainable_parameters",
}


class TensorBoard:
    """Writes the ledger's reports as scalars by report number, with hyperparameters for the HPARAMS page.

    Tune's own writer counts a resumed trial's reports from one again and mixes its bookkeeping into the
    hyperparameters. Here a trial that goes on is written anew from the ledger, so that each trial is one curve.
    """

    def __init__(self, run: Run, ledger: Ledger) -> None:
        self.run = run
        self.ledger = ledger
        self._writers: dict[str, SummaryWriter] = {}

    def reported(self, report: Report) -> None:
        """Write a report that the ledger has recorded."""
        if report.trial in self._writers:
            self._write(report)
        else:
            self._begin(report.trial)

    def ended(self, end: TrialEnd) -> None:
        """Close a trial that the ledger has ended."""
        trial = end.trial
        if trial not in self._writers and self.ledger.reports.get(trial):
            self._begin(trial)
        if (writer := self._writers.pop(trial, None)) is not None:
            _, _, summary = hparams({}, {})
            writer.file_writer.add_summary(summary, walltime=end.time)
            writer.close()

    def _begin(self, trial: str) -> None:
        folder = self.run.tensorboard_folder / trial
        shutil.rmtree(folder, ignore_errors=True)
        writer = self._writers[trial] = SummaryWriter(str(folder), flush_secs=FLUSH_SECONDS)
        reports = self.ledger.reports[trial]
        cell = Cell.parse(reports[0].cell)
        names = {"model": cell.model, "dataset": cell.dataset, "technique": cell.technique}
        # TensorBoard collects the columns from all trials when none of them declares an experiment.
        _, start, _ = hparams({**names, **(reports[0].hyperparameters or {})}, {})
        writer.file_writer.add_summary(start, walltime=reports[0].time)
        for report in reports:
            self._write(report)

    def _write(self, report: Report) -> None:
        writer = self._writers[report.trial]
        for name, tag in TAGS.items():
            value = getattr(report, name)
            if value is not None and (name != "em10" or report.em10_computed):
                writer.add_scalar(tag, value, report.report, walltime=report.time)
