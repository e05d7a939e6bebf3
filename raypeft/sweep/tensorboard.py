"""TensorBoard's view of a sweep: one run a trial, whole across executions of a run."""

import shutil
from collections.abc import Mapping
from typing import Any

from tensorboardX import SummaryWriter
from tensorboardX.summary import hparams

from raypeft.runs.folder import Run
from raypeft.runs.ledger import Ledger
from raypeft.spec.plan import Cell

FLUSH_SECONDS = 5
TAGS = {
    "validation_loss": "validation_loss",
    "best_loss": "best_loss",
    "em@10": "em_at_10",  # TensorBoard's tags have no @
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

    def reported(self, row: Mapping[str, Any]) -> None:
        """Write a report that the ledger has recorded."""
        if row["trial"] in self._writers:
            self._write(row)
        else:
            self._begin(row["trial"])

    def ended(self, row: Mapping[str, Any]) -> None:
        """Close a trial that the ledger has ended."""
        trial = row["trial"]
        if trial not in self._writers and self.ledger.reports.get(trial):
            self._begin(trial)
        if (writer := self._writers.pop(trial, None)) is not None:
            _, _, end = hparams({}, {})
            writer.file_writer.add_summary(end, walltime=row["time"])
            writer.close()

    def _begin(self, trial: str) -> None:
        folder = self.run.tensorboard_folder / trial
        shutil.rmtree(folder, ignore_errors=True)
        writer = self._writers[trial] = SummaryWriter(str(folder), flush_secs=FLUSH_SECONDS)
        rows = self.ledger.reports[trial]
        cell = Cell.parse(rows[0]["cell"])
        names = {"model": cell.model, "dataset": cell.dataset, "technique": cell.technique}
        # TensorBoard collects the columns from all trials when none of them declares an experiment.
        _, start, _ = hparams(names | rows[0].get("hyperparameters", {}), {})
        writer.file_writer.add_summary(start, walltime=rows[0]["time"])
        for row in rows:
            self._write(row)

    def _write(self, row: Mapping[str, Any]) -> None:
        writer = self._writers[row["trial"]]
        for key, tag in TAGS.items():
            if row.get(key) is not None and (key != "em@10" or row["em@10_computed"]):
                writer.add_scalar(tag, row[key], row["report"], walltime=row["time"])
