"""The record of a sweep: which reports have arrived and which trials have ended, on disk before anything acts on it."""

import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from raypeft.runs.checkpoints import rank_key
from raypeft.runs.folder import Run
from raypeft.runs.reading import REPORT, TRIAL, append_record
from raypeft.runs.records import State
from raypeft.spec.plan import Cell, Plan
from raypeft.spec.resolve import PAPERS_POINT

Report = dict[str, Any]

MEMORY = (
    "peak_memory_mib",
    "training_memory_mib",
    "training_reserved_mib",
    "decoding_memory_mib",
    "decoding_reserved_mib",
    "micro_batch",
    "decode_batch",
    "gradient_checkpointing",
)
SUMMED = ("training_seconds", "evaluation_seconds", *MEMORY, "trainable_parameters", "parameters")


class Ledger:
    """Reports and ended trials of a run, in memory and appended to `reports.jsonl` and `trials.jsonl`.

    Only the driver writes here. A report that a resumed trial gives once more is recognised and not recorded again.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.select_by = run.plan.resolved.study.validation.select_by
        self.history: list[Report] = []
        self.reports: dict[str, list[Report]] = defaultdict(list)
        self.ended: dict[str, dict[str, Any]] = {row["trial"]: row for row in run.trials()}
        self.notices: dict[str, list[str]] = defaultdict(list)
        for row in run.events():
            if "trial" in row:
                self.notices[row["trial"]].append(row["text"])
        for row in run.reports():
            self.history.append(row)
            self.reports[row["trial"]].append(row)

    def of(self, cell: Cell) -> list[dict[str, Any]]:
        """Ended trials of a cell."""
        return [row for row in self.ended.values() if row["cell"] == cell.id]

    def note(self, trial: str, text: str) -> None:
        """Record something that happened to a trial."""
        self.run.note(text, trial=trial)
        self.notices[trial].append(text)

    def is_new(self, trial: str, report: int) -> bool:
        """Whether this report of a trial has not been recorded yet; a trial that ends without one gives -1."""
        recorded = self.reports.get(trial)
        return report > (recorded[-1]["report"] if recorded else -1)

    def record(self, trial: str, cell: Cell, number: int, report: Mapping[str, Any]) -> Report:
        """Record a report, durable when this returns."""
        row = {"trial": trial, "cell": cell.id, "number": number, **report, "time": time.time()}
        row = append_record(self.run.reports_file, REPORT, row)
        self.history.append(row)
        self.reports[trial].append(row)
        return row

    def end(
        self,
        trial: str,
        cell: Cell,
        number: int,
        hyperparameters: Mapping[str, Any],
        state: State,
        reason: str | None = None,
        error: str | None = None,
        transient: bool = False,
    ) -> dict[str, Any]:
        """Record the end of a trial, once."""
        if trial in self.ended:
            return self.ended[trial]
        reports = [row for row in self.reports.get(trial, []) if row["validation_loss"] is not None]
        best = min(reports, key=lambda row: rank_key(row, self.select_by), default=None)
        point = self.run.plan.resolved.point_name(cell.technique, hyperparameters)
        row = {
            "trial": trial,
            "cell": cell.id,
            "number": number,
            "state": state,
            "reason": reason,
            "hyperparameters": dict(hyperparameters),
            "paper_point": point == PAPERS_POINT,
            "reports": len(reports),
            "best_report": best["report"] if best else None,
            "best_loss": best["validation_loss"] if best else None,
            "best_em@10": best["em@10"] if best else None,
            **{key: reports[-1].get(key) if reports else None for key in SUMMED},
            "error": error,
            "time": time.time(),
        }
        if transient:
            row["transient"] = True
        if notices := self.notices.get(trial):
            row["notices"] = notices
        row = append_record(self.run.trials_file, TRIAL, row)
        self.ended[trial] = row
        return row


def remaining(plan: Plan, ledger: Ledger) -> list[tuple[Cell, int]]:
    """Trials that have not ended, in the order they are to run: those begun first, then in rounds.

    Rounds take one trial of every cell of a base before the next, so that a cell's sampler has seen results when it
    is asked again, and workers keep their base: a model, quantised in one way.
    """
    ordered = [
        (cell, number)
        for base in dict.fromkeys(map(plan.base, plan.cells))
        for number in range(plan.resolved.study.trials)
        for cell in plan.cells
        if plan.base(cell) == base and cell.trial_name(number) not in ledger.ended
    ]
    return sorted(ordered, key=lambda pair: not ledger.reports.get(pair[0].trial_name(pair[1])))
