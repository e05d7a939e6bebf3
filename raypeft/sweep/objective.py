"""What a search and its early stopping go by: that by which a cell's checkpoint is selected."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from raypeft.spec.study import Study


@dataclass(frozen=True)
class Objective:
    """What is made small or large.

    Attributes:
        metric: its key in a report.
        best: its key in the row of an ended trial.
        mode: as Ray has it.
        words: for people.
    """

    metric: str
    best: str
    mode: Literal["min", "max"]
    words: str

    @property
    def direction(self) -> str:
        """As Optuna has it."""
        return "minimize" if self.mode == "min" else "maximize"

    def of(self, report: Mapping[str, Any]) -> float | None:
        """What a report says of it; none where it was not measured."""
        if report["validation_loss"] is None or (self is EM and not report["em@10_computed"]):
            return None
        return float(report[self.metric])

    def said(self, report: Mapping[str, Any]) -> str:
        """A report's value in words."""
        value = report[self.metric]
        return f"{self.words} {value:.4f}" if self is LOSS else f"{self.words} {value:.2f} %"


LOSS = Objective("validation_loss", "best_loss", "min", "validation loss")
EM = Objective("em@10", "best_em@10", "max", "validation EM@10")


def objective_of(study: Study) -> Objective:
    """The objective of a study's cells."""
    return LOSS if study.validation.select_by == "loss" else EM
