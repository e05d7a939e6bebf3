"""What a search and its early stopping go by: that by which a cell's checkpoint is selected."""

from dataclasses import dataclass
from typing import Literal

from raypeft.runs.records import Scores, TrialEnd
from raypeft.spec.study import Study


@dataclass(frozen=True)
class Objective:
    """What is made small or large.

    Attributes:
        metric: its key in what Ray is told.
        mode: as Ray has it.
        words: for people.
    """

    metric: str
    mode: Literal["min", "max"]
    words: str

    @property
    def direction(self) -> str:
        """As Optuna has it."""
        return "minimize" if self.mode == "min" else "maximize"

    def of(self, report: Scores) -> float | None:
        """What a report says of it; none where it was not measured."""
        if report.validation_loss is None or (self is EM and not report.em10_computed):
            return None
        return report.validation_loss if self is LOSS else report.em10

    def best(self, end: TrialEnd) -> float | None:
        """The best that a trial has reported of it."""
        return end.best_loss if self is LOSS else end.best_em10

    def said(self, report: Scores) -> str:
        """A report's value in words."""
        value = f"{report.validation_loss:.4f}" if self is LOSS else f"{report.em10:.2f} %"
        return f"{self.words} {value}"


LOSS = Objective("validation_loss", "min", "validation loss")
EM = Objective("em@10", "max", "validation EM@10")


def objective_of(study: Study) -> Objective:
    """The objective of a study's cells."""
    return LOSS if study.validation.select_by == "loss" else EM
