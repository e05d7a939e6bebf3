"""Jobs of the final evaluation, known by the result file they write."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from raypeft.run import Run
from raypeft.spec.plan import Cell, IclJob, Plan


@dataclass(frozen=True)
class Job:
    """One unit of final evaluation.

    Attributes:
        kind: `test` decodes with a cell's selected adapter, `icl` with the base model and examples in the prompt.
        target: the cell or ICL run.
    """

    kind: Literal["test", "icl"]
    target: Cell | IclJob

    @property
    def id(self) -> str:
        """Name for people."""
        return f"{self.kind} {self.target.id}"

    @property
    def model(self) -> str:
        """The base model it needs."""
        return self.target.model

    def result_file(self, run: Run) -> Path:
        """The file whose presence says that the job is done."""
        if isinstance(self.target, IclJob):
            return run.icl_file(self.target)
        return run.cell_folder(self.target) / "test.json"

    def predictions_file(self, run: Run) -> Path:
        """Its predictions, one line a test item."""
        if isinstance(self.target, IclJob):
            return run.icl_file(self.target).with_suffix(".jsonl")
        return run.cell_folder(self.target) / "predictions.jsonl"

    def error_file(self, run: Run) -> Path:
        """Why it failed, where it did."""
        result = self.result_file(run)
        return result.with_name(f"{result.stem}.error.json")


def jobs_of(plan: Plan, run: Run) -> list[Job]:
    """Test jobs of the cells that have a selection, then ICL jobs."""
    tests = [Job("test", cell) for cell in plan.cells if (run.selection(cell) or {}).get("trial")]
    return tests + [Job("icl", job) for job in plan.icl_jobs]
