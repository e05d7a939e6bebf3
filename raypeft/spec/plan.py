"""From a resolved study to cells, trials, rungs and jobs. Loads neither torch nor ray."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from raypeft.spec.resolve import ResolvedStudy
from raypeft.spec.technique import Quantization

STAGES = ("sweep", "test", "icl", "report")


@dataclass(frozen=True, order=True)
class Cell:
    """One (model, dataset, technique) of a study; trials are compared only inside a cell."""

    model: str
    dataset: str
    technique: str

    @property
    def id(self) -> str:
        """`model/dataset/technique`, also the cell's folder under `cells/`."""
        return f"{self.model}/{self.dataset}/{self.technique}"

    @classmethod
    def parse(cls, cell_id: str) -> "Cell":
        """From `model/dataset/technique`."""
        model, dataset, technique = cell_id.split("/")
        return cls(model, dataset, technique)

    def trial_name(self, number: int) -> str:
        """Readable name of a trial and its folder, numbered from 0 inside the cell."""
        return f"{self.model}·{self.technique}·{self.dataset}·{number:03d}"


@dataclass(frozen=True)
class IclJob:
    """One in-context-learning run: a base model, `examples` drawn with `seed`, the test split of `dataset`."""

    model: str
    dataset: str
    examples: int
    seed: int

    @property
    def id(self) -> str:
        """Path of the result under `icl/`, without suffix."""
        return f"{self.model}/{self.dataset}/{self.examples}-shot-seed-{self.seed}"


@dataclass(frozen=True)
class Plan:
    """All that a run of a study will do."""

    resolved: ResolvedStudy

    @cached_property
    def cells(self) -> list[Cell]:
        """Cells in the order they are scheduled: those of one model stand together."""
        study = self.resolved.study
        return [
            Cell(model, dataset, Path(technique).stem)
            for wanted in self.resolved.models
            for dataset in study.datasets
            for model, technique in study.pairs()
            if model == wanted
        ]

    def base(self, target: Cell | IclJob) -> tuple[str, Quantization | None]:
        """The base that a cell or an ICL run works with: a model, quantised as the technique says, or not at all."""
        if isinstance(target, IclJob):
            return target.model, None
        return target.model, self.resolved.techniques[target.technique].quantization

    def tests(self, cell: Cell) -> list[str]:
        """Data sets a cell is tested on, each by itself: its own, or those that its own one joins."""
        return self.resolved.datasets[cell.dataset].join or [cell.dataset]

    @cached_property
    def test_jobs(self) -> list[tuple[Cell, str]]:
        """Every cell with each data set it is tested on."""
        return [(cell, dataset) for cell in self.cells for dataset in self.tests(cell)]

    @property
    def trials(self) -> int:
        """Trials of the run."""
        return len(self.cells) * self.resolved.study.trials

    @property
    def reports(self) -> int:
        """Reports of a trial that is not stopped, without the one before training."""
        return self.resolved.study.training.reports

    @cached_property
    def rungs(self) -> list[int]:
        """Reports at which ASHA may stop a trial, ascending (Li et al., 2020; ray.tune.schedulers.ASHAScheduler)."""
        stopping = self.resolved.study.stopping
        rungs: list[int] = []
        if stopping is not None:
            milestone = stopping.grace
            while milestone < self.reports:
                rungs.append(milestone)
                milestone *= stopping.factor
        return rungs

    @cached_property
    def icl_jobs(self) -> list[IclJob]:
        """ICL jobs; without examples nothing is drawn, so zero examples run once, with the first seed.

        The pairs that `icl.skip` names are left out. There are none on joint data sets, whose test sets belong to the
        data sets that they join.
        """
        icl = self.resolved.study.icl
        if icl is None:
            return []
        return [
            IclJob(model, dataset, examples, seed)
            for model in self.resolved.models
            for dataset in self.resolved.study.datasets
            if self.resolved.datasets[dataset].join is None
            if icl.skipped(model, dataset) is None
            for examples in icl.examples
            for seed in (icl.seeds if examples else icl.seeds[:1])
        ]
