"""Jobs of the final evaluation, known by the result file they write."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from raypeft.runs.folder import Run, error_file
from raypeft.spec.plan import Cell, IclJob, Plan


@dataclass(frozen=True)
class Job:
    """One unit of final evaluation.

    Attributes:
        kind: `test` decodes with a cell's selected adapter, `icl` with the base model and examples in the prompt.
        target: the cell or ICL run.
        test_set: the data set that is decoded, where it is not the target's own but one that the target's joins.
    """

    kind: Literal["test", "icl"]
    target: Cell | IclJob
    test_set: str | None = None

    @property
    def id(self) -> str:
        """Name for people."""
        return f"{self.kind} {self.target.id}" + (f" on {self.test_set}" if self.test_set else "")

    @property
    def dataset(self) -> str:
        """The data set whose test split is decoded."""
        return self.test_set or self.target.dataset

    @property
    def model(self) -> str:
        """The base model it needs."""
        return self.target.model

    def result_file(self, run: Run) -> Path:
        """The file whose presence says that the job is done."""
        if isinstance(self.target, IclJob):
            return run.icl_file(self.target)
        return run.test_file(self.target, self.test_set)

    def predictions_file(self, run: Run) -> Path:
        """Its predictions, one line a test item."""
        if isinstance(self.target, IclJob):
            return run.icl_file(self.target).with_suffix(".jsonl")
        return run.predictions_file(self.target, self.test_set)

    def error_file(self, run: Run) -> Path:
        """Why it failed, where it did."""
        return error_file(self.result_file(run))


def jobs_of(plan: Plan, run: Run) -> list[Job]:
    """Test jobs of the cells that have a selection, one a test set, then ICL jobs."""
    tests = [
        Job("test", cell, None if dataset == cell.dataset else dataset)
        for cell, dataset in plan.test_jobs
        if (selection := run.selection(cell)) and selection.trial
    ]
    return tests + [Job("icl", job) for job in plan.icl_jobs]
