"""Studies and runs from Python, as the command line has them.

from raypeft import Run, Study

study = Study.load("rq1", models=["codegen-350m-mono"], settings={"search.trials": 4})
print(study.plan())
run = study.run("runs/mine")
run.tests()
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from raypeft.errors import UserError
from raypeft.output.console import terminal
from raypeft.planning import StudyPlan, planned
from raypeft.runs import folder as run_folder
from raypeft.runs.folder import find_cell
from raypeft.runs.reuse import runs_in, siblings
from raypeft.spec.loading import find
from raypeft.spec.plan import STAGES
from raypeft.spec.resolve import ResolvedStudy, resolve
from raypeft.spec.values import quoted

if TYPE_CHECKING:
    import pandas

    from raypeft.recommendation.choice import Recommendation


@dataclass(frozen=True)
class Study:
    """A research question as models x data sets x techniques, with how to search, train and test.

    Attributes:
        resolved: the whole of it, as a run folder keeps it.
        file: where it was read.
    """

    resolved: ResolvedStudy
    file: Path

    @classmethod
    def load(
        cls,
        name: str | Path,
        *,
        models: Sequence[str] = (),
        datasets: Sequence[str] = (),
        techniques: Sequence[str] = (),
        trials: int | None = None,
        settings: Mapping[str, Any] | Sequence[str] = (),
        scale: str | None = None,
    ) -> "Study":
        """A shipped study, one in `./studies`, or a file.

        Args:
            name: of the study, or its file.
            models, datasets, techniques: only these of it.
            trials: how many a cell gets.
            settings: any keys of the study, such as `{"search.trials": 4}` or `["search.trials=4"]`.
            scale: `tiny` runs it on the embedded models and data.

        Raises:
            UserError: all that is wrong with it, in one message.
        """
        resolved = resolve(
            str(name),
            models=models,
            datasets=datasets,
            techniques=techniques,
            trials=trials,
            settings=_written(settings) if isinstance(settings, Mapping) else settings,
            scale=scale,
        )
        return cls(resolved, find(str(name), "studies"))

    @property
    def folder(self) -> Path:
        """Where it is run if nothing else is said."""
        return Path("runs") / self.resolved.name

    def plan(
        self,
        out: str | Path | None = None,
        *,
        reuse: Iterable[str | Path] = (),
        beside: bool = True,
        any_version: bool = False,
        fresh: bool = False,
    ) -> StudyPlan:
        """What would be done, and what it costs; nothing is computed.

        Args:
            out: the run folder.
            reuse: runs, or folders of runs, to take finished cells from.
            beside: take them also from the runs beside the run folder.
            any_version: take also what was computed with other versions.
            fresh: what the run folder holds would be removed.
        """
        folder = Path(out or self.folder)
        sources = self._sources(folder, reuse, beside=beside)
        return planned(self.resolved, folder, sources, fresh=fresh, any_version=any_version)

    def run(
        self,
        out: str | Path | None = None,
        *,
        fresh: bool = False,
        reuse: Iterable[str | Path] = (),
        beside: bool = True,
        any_version: bool = False,
        stages: Sequence[str] = STAGES,
        ray_address: str | None = None,
        console: Console | None = None,
    ) -> "Run":
        """Run it, or go on with it where it was interrupted; what is done is not done again.

        Args:
            out: the run folder.
            fresh: remove what the run folder holds, and start anew.
            reuse: runs, or folders of runs, to take finished cells from.
            beside: take finished cells also from the runs beside the run folder.
            any_version: take also what was computed with other versions.
            stages: which of `sweep`, `test`, `icl`, `report` to run.
            ray_address: a running cluster to join instead of starting Ray here.
            console: where progress is shown.

        Returns:
            The run, whose `failures` say what did not succeed.

        Raises:
            UserError: a mistake in what was asked; the machine lacks something; the disk is full.
            KeyboardInterrupt: interrupted; trials have written their checkpoints, and the same call goes on.
        """
        from raypeft import pipeline
        from raypeft.execution import disk
        from raypeft.execution.guards import check_versions
        from raypeft.execution.interruption import Abrupt
        from raypeft.execution.owner import owned
        from raypeft.hub.study import check_places

        if unknown := set(stages) - set(STAGES):
            hint = f"Stages: {', '.join(STAGES)}"
            raise UserError(f"unknown stage {quoted(sorted(unknown)[0])}", where="--stage", hint=hint)
        folder, console = Path(out or self.folder), console or terminal()
        sources = self._sources(folder, reuse, beside=beside)
        check_places(self.resolved, str(self.file))
        check_versions()
        with owned(folder, console) as (interruption, ownership):
            pipeline.prepare(folder, self.resolved, console, fresh=fresh)
            try:
                failed = pipeline.study(
                    self.resolved,
                    folder,
                    console,
                    interruption=interruption,
                    keep=ownership.keep,
                    stages=tuple(stages),
                    ray_address=ray_address,
                    sources=sources,
                    any_version=any_version,
                )
            except KeyboardInterrupt:
                if interruption.abrupt:
                    raise Abrupt from None
                raise
            except OSError as error:
                if disk.is_full(error):
                    raise disk.full(folder, str(error)) from error
                raise
        return Run(run_folder.Run(folder.resolve()), tuple(failed))

    def _sources(self, folder: Path, reuse: Iterable[str | Path], *, beside: bool) -> list[run_folder.Run]:
        named = [run for place in reuse for run in runs_in(Path(place))]
        return named + (siblings(folder, self.resolved.name) if beside else [])


@dataclass(frozen=True)
class Run:
    """One execution of a study, in one folder: what it has found, as tables (pandas.DataFrame).

    Reading needs neither torch nor ray, and works while the run goes on.

    Attributes:
        files: the run folder and what lies in it.
        failures: cells without a usable trial and jobs that failed, where the run was just carried out.
    """

    files: run_folder.Run
    failures: tuple[str, ...] = ()

    @classmethod
    def open(cls, folder: str | Path) -> "Run":
        """An existing run.

        Raises:
            UserError: the folder holds none.
        """
        return cls(run_folder.Run.open(Path(folder)))

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.files.folder

    def trials(self) -> "pandas.DataFrame":
        """One row a trial that has begun: cell, hyperparameters, best loss, EM@10, state and reason it ended."""
        from raypeft.report.numbers.trials import read_trials

        return _frame(
            {
                **{key: value for key, value in asdict(trial).items() if key not in ("curve", "hyperparameters")},
                "cell": trial.cell.id,
                "state": str(trial.state),
                **trial.hyperparameters,
            }
            for trial in read_trials(self.files)
        )

    def reports(self) -> "pandas.DataFrame":
        """One row a report, in the order of their arrival (`reports.jsonl`)."""
        return _frame(
            {key: value for key, value in report.content().items() if key not in ("format", "hyperparameters")}
            for report in self.files.reports()
        )

    def cells(self) -> "pandas.DataFrame":
        """One row a cell: state, trials by state, selected trial and its point, validation loss and EM@10."""
        from raypeft.report.numbers.gather import gather

        return _frame(
            {
                "cell": row.cell.id,
                "model": row.cell.model,
                "dataset": row.cell.dataset,
                "technique": row.cell.technique,
                "state": row.state,
                "note": row.note,
                "trials": sum(row.trials.values()),
                "selected": row.selection.trial,
                "validation_loss": row.selection.validation_loss,
                "validation_em@10": row.selection.em10,
                "trainable_parameters": row.selection.trainable_parameters,
                "peak_memory_mib": row.selection.peak_memory_mib,
                "training_seconds": row.selection.training_seconds,
                **row.selection.point,
            }
            for row in gather(self.files).searched
        )

    def tests(self) -> "pandas.DataFrame":
        """One row a tested cell and test set, with its metrics in percent."""
        from raypeft.report.numbers.gather import gather

        return _frame(
            {"cell": row.cell.id, "test_set": row.test_set, "items": row.items, **row.metrics}
            for row in gather(self.files).cells
            if row.state == "tested"
        )

    def icl(self) -> "pandas.DataFrame":
        """One row an in-context-learning run with a result: model, data set, examples, seed, metrics in percent."""
        from raypeft.metrics import flatten

        return _frame(
            {**asdict(job), "items": result.items, **flatten(result.metrics)}
            for job in self.files.plan.icl_jobs
            if (result := self.files.icl(job))
        )

    def predictions(self, cell: str, dataset: str | None = None) -> "pandas.DataFrame":
        """One row a test item of a cell: its prompt, reference, and candidates with scores, best first.

        Args:
            cell: `model/dataset/technique`, or as many of these as tell it apart.
            dataset: which test set, where a joint data set has several.

        Raises:
            UserError: the run has no such cell.
        """
        file = self.files.predictions_file(find_cell(self.files, cell), dataset)
        return _frame(row.content() for row in self.files.predictions(file))

    def recommend(
        self, gpu_memory_gb: float | None = None, hours: float | None = None, *, model: str | None = None
    ) -> "list[Recommendation]":
        """For each test set the best candidate within limits, with alternatives and how sure that is.

        Args:
            gpu_memory_gb: GiB of the card that will train.
            hours: longest training of one point.
            model: only this model.
        """
        from raypeft.recommendation.candidates import Budget
        from raypeft.recommendation.choice import recommend
        from raypeft.report.numbers.gather import gather

        return recommend(gather(self.files), Budget(gpu_memory_gb, hours), model=model, dataset=None)

    def report(self) -> Path:
        """Write tables, figures and HTML page anew, and return the page."""
        from raypeft.report import write

        return write(self.files)

    def load(self, cell: str, *, trust_remote_code: bool = False) -> tuple[Any, Any]:
        """A cell's selected model, ready to generate, and its tokenizer.

        Args:
            cell: `model/dataset/technique`, or as many of these as tell it apart.
            trust_remote_code: whether code may run that the model brings along.

        Returns:
            The `PeftModel`, or for full fine-tuning the model itself, in evaluation mode; and the tokenizer.

        Raises:
            UserError: there is no such cell, nothing is selected of it, or its model cannot be loaded.
        """
        from raypeft.modeling.adapters import with_saved
        from raypeft.modeling.loading import discard_warm, study_base
        from raypeft.runs.selection import check_consent, selected

        chosen = find_cell(self.files, cell)
        check_consent(self.files, chosen, given=trust_remote_code)
        selected(self.files, chosen)
        resolved = self.files.plan.resolved
        discard_warm()
        base = study_base(resolved, chosen)
        model = with_saved(base, resolved.techniques[chosen.technique], self.files.cell_folder(chosen) / "best")
        discard_warm()  # nobody else may use what the adapter is now part of
        return model.eval(), base.tokenizer


def _written(settings: Mapping[str, Any]) -> list[str]:
    """Keys and values as the command line takes them."""
    return [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in settings.items()]


def _frame(rows: Iterable[Mapping[str, Any]]) -> "pandas.DataFrame":
    import pandas

    return pandas.DataFrame(list(rows))
