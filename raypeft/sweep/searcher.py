"""Suggestions inside each cell: one Optuna study a cell under one Ray Tune searcher."""

import hashlib
import warnings
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from ray.tune.search import Searcher

from raypeft.output.files import repair_lines
from raypeft.runs.ledger import Ledger
from raypeft.runs.records import Report, State, TrialEnd
from raypeft.spec.plan import Cell, Plan
from raypeft.spec.technique import Dimension, Technique
from raypeft.sweep.objective import objective_of

STATES = {State.FINISHED: TrialState.COMPLETE, State.ERROR: TrialState.FAIL}


class CellSearcher(Searcher):
    """Hands each suggestion to the Optuna study of a cell, whose first trial is the paper's point, or the
    package's where the study says so.

    All studies lie in one journal (`optuna.storages.JournalStorage`). A suggestion depends only on the study's seed,
    the cell, the trial's number and the cell's history, so that an interrupted search goes on as it would have.
    What the ledger holds has happened: a journal that says otherwise, or more, is written anew from it.
    A trial that ASHA stopped counts as pruned, with what it has reported so far.
    """

    def __init__(self, plan: Plan, ledger: Ledger, folder: Path) -> None:
        self.objective = objective_of(plan.resolved.study)
        super().__init__(metric=self.objective.metric, mode=self.objective.mode)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.plan = plan
        self.folder = folder
        self.halted = False
        self.suggested: set[str] = set()
        self._studies: dict[str, optuna.Study] = {}
        self._queue: deque[tuple[Cell, int]] = deque()
        self.rebuilt = False
        journal = ledger.run.optuna_file
        Path(f"{journal}.lock").unlink(missing_ok=True)  # of a process that died with it
        self._points = _points(ledger, plan)
        if not self._opens(journal, ledger):
            journal.unlink(missing_ok=True)
            self._storage = storage(journal)
            self._studies.clear()
            self.rebuilt = True
        for cell in plan.cells:
            self._catch_up(cell, ledger)

    def __getstate__(self) -> dict[str, Any]:
        # Ray pickles its set-up for `Tuner.restore`, which the journal makes superfluous.
        return {}

    def enqueue(self, trials: Iterable[tuple[Cell, int]]) -> None:
        """Trials to suggest, in this order."""
        self._queue.extend(trials)

    def drop(self, cell: Cell) -> None:
        """Suggest no further trial of a cell."""
        self._queue = deque(pair for pair in self._queue if pair[0] != cell)

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """Configuration of the next trial (called by Ray), or FINISHED."""
        if self.halted or not self._queue:
            return str(Searcher.FINISHED)
        cell, number = self._queue.popleft()
        self.suggested.add(cell.trial_name(number))
        return {
            "run": str(self.folder),
            "trial": cell.trial_name(number),
            "cell": cell.id,
            "number": number,
            "hyperparameters": self.hyperparameters(cell, number),
        }

    def hyperparameters(self, cell: Cell, number: int) -> dict[str, Any]:
        """The point of a trial: the one already drawn, or the next one."""
        study, technique = self._study(cell), self.plan.resolved.techniques[cell.technique]
        asked = _asked(study)
        if number < len(asked):
            return technique.from_drawn(asked[number].params)
        study.sampler = self._sampler(cell, number)
        return technique.from_drawn(study.ask(self._space(cell)).params)

    def observe(self, report: Report) -> None:
        """Record what a report says of the objective with the trial it belongs to."""
        if (value := self.objective.of(report)) is not None:
            self._trial(Cell.parse(report.cell), report.number).report(value, report.report)

    def conclude(self, end: TrialEnd) -> None:
        """Record how a trial ended."""
        study = self._study(Cell.parse(end.cell))
        state = _state(end)
        study.tell(end.number, self.objective.best(end) if state == TrialState.COMPLETE else None, state=state)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: `conclude` is told by the recorder, which knows why a trial ended."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the state."""

    def _opens(self, journal: Path, ledger: Ledger) -> bool:
        """Open the journal; whether it can be read, its trials are whole, and none differs from the ledger's."""
        if repair_lines(journal) > 1:
            return False
        try:
            self._storage = storage(journal)
            return all(self._agrees(cell, ledger) for cell in self.plan.cells)
        except Exception:  # a line is missing, and Optuna fails at whatever refers to it
            return False

    def _agrees(self, cell: Cell, ledger: Ledger) -> bool:
        """Whether the journal says of a cell's trials nothing but what the ledger does.

        A point that only the journal knows stays the trial's, which may have trained with it.
        """
        if self._study(cell).direction.name.lower() != self.objective.direction:
            return False
        technique, space = self.plan.resolved.techniques[cell.technique], self._space(cell).keys()
        for trial in _asked(self._study(cell)):
            name = cell.trial_name(trial.number)
            if trial.params.keys() != space:
                return False
            if technique.from_drawn(trial.params) != self._points.setdefault(name, technique.from_drawn(trial.params)):
                return False
            if trial.state.is_finished() and (name not in ledger.ended or trial.state != _state(ledger.ended[name])):
                return False
            said = {report.report: self.objective.of(report) for report in ledger.reports.get(name, [])}
            if not trial.intermediate_values.items() <= said.items():
                return False
        return True

    def _study(self, cell: Cell) -> optuna.Study:
        if cell.id not in self._studies:
            study = optuna.create_study(
                study_name=cell.id, storage=self._storage, direction=self.objective.direction, load_if_exists=True
            )
            if not study.get_trials(deepcopy=False):
                resolved = self.plan.resolved
                first = resolved.techniques[cell.technique].to_drawn(resolved.points[cell.technique])
                study.enqueue_trial(first)
            self._studies[cell.id] = study
        return self._studies[cell.id]

    def _space(self, cell: Cell) -> dict[str, BaseDistribution]:
        space = self.plan.resolved.techniques[cell.technique].space
        return {name: distribution(dimension) for name, dimension in space.items()}

    def _trial(self, cell: Cell, number: int) -> optuna.Trial:
        study = self._study(cell)
        identifier = self._storage.get_study_id_from_name(cell.id)
        return optuna.Trial(study, self._storage.get_trial_id_from_study_id_trial_number(identifier, number))

    def _catch_up(self, cell: Cell, ledger: Ledger) -> None:
        """Bring the journal up to what the ledger holds: its trials may be taken from another run, the process may
        have died, or the journal been lost.

        A trial that the journal does not have gets its number there by being asked for in turn.
        """
        study, technique = self._study(cell), self.plan.resolved.techniques[cell.technique]
        names = [cell.trial_name(number) for number in range(self.plan.resolved.study.trials)]
        begun = self._points.keys() | ledger.reports.keys()
        known = max((number + 1 for number, name in enumerate(names) if name in begun), default=0)
        while (number := len(_asked(study))) < known:
            if names[number] in self._points and len(study.get_trials(deepcopy=False)) == number:
                study.enqueue_trial(technique.to_drawn(self._points[names[number]]))
            self.hyperparameters(cell, number)
        for frozen in study.get_trials(deepcopy=False):
            name = cell.trial_name(frozen.number)
            if frozen.state != TrialState.RUNNING:
                continue
            for report in ledger.reports.get(name, []):
                if report.report not in frozen.intermediate_values:
                    self.observe(report)
            if name in ledger.ended:
                self.conclude(ledger.ended[name])

    def _sampler(self, cell: Cell, number: int) -> optuna.samplers.BaseSampler:
        search = self.plan.resolved.study.search
        digest = hashlib.sha256(f"{search.seed}/{cell.id}/{number}".encode()).digest()
        seed = int.from_bytes(digest[:4], "big")
        if search.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        startup = min(10, max(3, search.trials // 4))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup, constant_liar=True)


def _asked(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Trials of a study that have been handed out."""
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state != TrialState.WAITING]


def _state(end: TrialEnd) -> TrialState:
    """What Optuna calls how a trial has ended."""
    return STATES.get(end.state, TrialState.PRUNED)


def _points(ledger: Ledger, plan: Plan) -> dict[str, dict[str, Any]]:
    """Hyperparameters of every trial that has reported or ended, by name; those that its technique can draw."""
    techniques = {cell.id: plan.resolved.techniques[cell.technique] for cell in plan.cells}
    known: list[Report | TrialEnd] = [*ledger.history, *ledger.ended.values()]
    return {
        one.trial: one.hyperparameters
        for one in known
        if one.hyperparameters and _fits(one.hyperparameters, techniques[one.cell])
    }


def _fits(point: Mapping[str, Any], technique: Technique) -> bool:
    if point.keys() != technique.search.keys():
        return False
    try:
        for name, value in technique.to_drawn(point).items():
            distribution(technique.space[name]).to_internal_repr(value)
    except (ValueError, TypeError):
        return False
    return True


def storage(path: Path) -> optuna.storages.JournalStorage:
    """Optuna's journal in a file; `optuna-dashboard` opens it."""
    backend = optuna.storages.journal.JournalFileBackend(str(path))
    return optuna.storages.JournalStorage(backend)


def distribution(dimension: Dimension) -> BaseDistribution:
    """Optuna's distribution of a searched hyperparameter."""
    if dimension.choice is not None:
        return CategoricalDistribution(dimension.choice)
    low, high = dimension.bounds
    log = dimension.kind.startswith("log")
    if "integer" in dimension.kind:
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(low, high, log=log)
