"""Studies: models x datasets x techniques, and how to search, train and test them."""

from typing import Literal, Self

from pydantic import model_validator

from raypeft.spec.catalogue import Catalogue
from raypeft.spec.loading import Inconsistent, Strict
from raypeft.spec.protocol import Protocol
from raypeft.spec.sections import (
    EarlyStopping,
    Icl,
    Names,
    NamesOrGroups,
    Resources,
    Search,
    Subsets,
    Test,
    Training,
    Validation,
)
from raypeft.spec.values import Prose

MOST_CELLS, MOST_TRIALS, MOST_JOBS = 5_000, 500_000, 50_000


class Study(Strict):
    """One YAML of `studies/`.

    Attributes:
        question: what the study asks, for the report.
        models, techniques: names, or groups of names; with groups, a group's models meet its own techniques.
        datasets: names.
        catalogue: further models and data sets, by the catalogue's keys.
        mode: `search` runs `search.trials` points a cell, `paper` the paper's point alone, which nothing stops early.
            The paper's point is a cell's first trial either way.
    """

    question: Prose
    models: NamesOrGroups
    datasets: Names
    techniques: NamesOrGroups
    catalogue: Catalogue = Catalogue()
    mode: Literal["paper", "search"] = "search"
    search: Search = Search()
    early_stopping: EarlyStopping | None = EarlyStopping()
    training: Training = Training()
    validation: Validation = Validation()
    test: Test = Test()
    icl: Icl | None = None
    data: Subsets = Subsets()
    resources: Resources = Resources()
    protocol: Protocol = Protocol()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        wrong = []
        if isinstance(self.techniques, dict):
            groups = list(self.models) if isinstance(self.models, dict) else []
            if set(groups) != set(self.techniques):
                have, need = ", ".join(self.techniques), ", ".join(groups) or "none"
                wrong.append(("techniques", f"has the groups {have}, but those of models are: {need}"))
        wrong += self._too_many()
        reports = self.training.reports
        if self.stopping and self.stopping.grace > reports:
            message = f"is {self.stopping.grace}, but a trial has {reports} reports (epochs / evaluate_every)"
            wrong.append(("early_stopping.grace", message))
        if wrong:
            raise Inconsistent(wrong)
        return self

    def _too_many(self) -> list[tuple[str, str]]:
        """What there is more of than anyone runs, and than a plan can be made of in seconds."""
        groups = self.models if isinstance(self.models, dict) else {"": self.models}
        techniques = self.techniques
        pairs = sum(
            len(models) * len(techniques.get(group, []) if isinstance(techniques, dict) else techniques)
            for group, models in groups.items()
        )
        cells = pairs * len(self.datasets)
        jobs = 0
        if self.icl is not None:
            drawn = len(self.icl.examples) * len(self.icl.seeds)
            jobs = sum(map(len, groups.values())) * len(self.datasets) * drawn
        found = (
            ("techniques", "cells", cells, MOST_CELLS),
            ("search.trials", "trials", cells * self.trials, MOST_TRIALS),
        )
        return [
            (key, f"makes {count:,} {what}, more than {most:,}")
            for key, what, count, most in (*found, ("icl", "jobs", jobs, MOST_JOBS))
            if count > most
        ]

    @property
    def trials(self) -> int:
        """Trials of each cell."""
        return 1 if self.mode == "paper" else self.search.trials

    @property
    def stopping(self) -> EarlyStopping | None:
        """Early stopping, where a cell has trials to compare."""
        return None if self.mode == "paper" else self.early_stopping

    def grouped_pairs(self) -> dict[str, list[tuple[str, str]]]:
        """(model, technique) pairs of each group of models, in the order they stand; without groups, of one unnamed."""
        groups = self.models if isinstance(self.models, dict) else {"": self.models}
        return {
            group: [
                (model, technique)
                for model in models
                for technique in (self.techniques[group] if isinstance(self.techniques, dict) else self.techniques)
            ]
            for group, models in groups.items()
        }

    def pairs(self) -> list[tuple[str, str]]:
        """(model, technique) pairs in the order they stand, each once."""
        return list(dict.fromkeys(pair for pairs in self.grouped_pairs().values() for pair in pairs))
