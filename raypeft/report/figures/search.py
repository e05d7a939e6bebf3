"""What the search says of hyperparameters: slices of the loss along each, and their importance by Optuna."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import optuna
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState, create_trial

from raypeft.report.figures import palette
from raypeft.report.numbers.trials import Trial
from raypeft.runs.folder import Run
from raypeft.runs.reading import Fault
from raypeft.runs.records import State
from raypeft.spec.plan import Cell
from raypeft.spec.technique import Dimension

# Importance is of reaching the best quarter of a cell's trials, which has to be more than one or two of them.
QUANTILE = 0.25
ENOUGH = 16
# Losses further above their cell's best than this factor are drawn at the edge.
_HIGHEST = 3.0
_COLUMNS = 3


@dataclass(frozen=True)
class Importance:
    """Importance of each hyperparameter of a cell, as shares of one (PED-ANOVA; Watanabe et al., 2023)."""

    cell: Cell
    trials: int
    shares: Mapping[str, float]


def read_importance(run: Run, cells: Sequence[Cell]) -> list[Importance]:
    """Importances in the cells whose search has enough trials, from the run's Optuna journal.

    A trial that was stopped takes part with the lowest loss it had reached, as the search itself saw it.
    """
    if not run.optuna_file.is_file() or run.plan.resolved.study.trials < ENOUGH:
        return []
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return list(_read_importance(run, cells))
    except Exception as error:  # Optuna stumbles over a damaged journal anywhere
        run.reading.faults[run.optuna_file] = Fault(f"cannot be read ({type(error).__name__})", mendable=True)
        return []


def _read_importance(run: Run, cells: Sequence[Cell]) -> Iterator[Importance]:
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(run.optuna_file)))
    for study in storage.get_all_studies():
        recorded = storage.get_all_trials(storage.get_study_id_from_name(study.study_name), deepcopy=False)
        trials = [trial for one in recorded if (trial := _ended(one))]
        if study.study_name in {cell.id for cell in cells} and len(trials) >= ENOUGH:
            yield Importance(Cell.parse(study.study_name), len(trials), _importance(trials))


def _ended(trial: FrozenTrial) -> FrozenTrial | None:
    if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED) or not trial.intermediate_values:
        return None
    best = min(trial.intermediate_values.values())
    return create_trial(params=trial.params, distributions=trial.distributions, value=best)


def _importance(trials: Sequence[FrozenTrial]) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        study.add_trials(trials)
        evaluator = PedAnovaImportanceEvaluator(target_quantile=QUANTILE)
        return get_param_importances(study, evaluator=evaluator)


def draw_importance(importances: Sequence[Importance]) -> Figure:
    """Mean importance over the cells of a technique as bars, each cell a point."""
    names = sorted(importances[0].shares, key=lambda name: -fmean(one.shares.get(name, 0.0) for one in importances))
    figure = Figure(figsize=(5.2, 1.0 + 0.34 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    for place, name in enumerate(names):
        shares = [one.shares.get(name, 0.0) for one in importances]
        axes.barh(place, fmean(shares), height=0.62, color=palette.BLUE)
        axes.plot(shares, [place] * len(shares), "o", color=palette.INK, markersize=3, alpha=0.6)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("importance, share of one")
    return figure


def draw_slices(trials: Sequence[Trial], space: Mapping[str, Dimension]) -> Figure:
    """For each hyperparameter its value in every trial against the trial's loss over the best of its cell.

    Args:
        trials: of all cells of one technique, at least one of them with a loss.
        space: the technique's searched hyperparameters.
    """
    best: dict[Cell, float] = {}
    for trial in trials:
        if trial.best_loss is not None:
            best[trial.cell] = min(trial.best_loss, best.get(trial.cell, trial.best_loss))
    drawn = [trial for trial in trials if trial.best_loss is not None]
    # A hyperparameter that no trial of the run has drawn has no slice.
    space = {
        name: one for name, one in space.items() if any(trial.hyperparameters.get(name) is not None for trial in drawn)
    }
    columns = min(len(space), _COLUMNS)
    rows = -(-len(space) // columns)
    figure = Figure(figsize=(2.9 * columns, 0.6 + 2.3 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (name, dimension) in zip(panels, space.items(), strict=False):
        own = [trial for trial in drawn if trial.hyperparameters.get(name) is not None]
        _slice(axes, name, dimension, [(trial, _ratio(trial.best_loss or 0.0, best[trial.cell])) for trial in own])
    for axes in panels[len(space) :]:
        axes.set_axis_off()
    for axes in panels[::columns]:
        axes.set_ylabel("loss / cell's best")
    return figure


def _ratio(loss: float, best: float) -> float:
    """How many times the best loss of its cell a loss is."""
    return loss / best if best else (1.0 if not loss else float("inf"))


def _slice(axes: Axes, name: str, dimension: Dimension, points: Sequence[tuple[Trial, float]]) -> None:
    values = [trial.hyperparameters[name] for trial, _ in points]
    options = list(dict.fromkeys(map(str, sorted(values, key=_order))))
    ranged = dimension.choice is None and all(isinstance(value, int | float) for value in values)
    for (trial, ratio), value in zip(points, values, strict=True):
        finished = trial.state == State.FINISHED
        axes.plot(
            [float(value) if ranged else options.index(str(value))],
            [min(ratio, _HIGHEST)],
            marker="*" if trial.selected is not None else ("^" if ratio > _HIGHEST else "o"),
            color=palette.ORANGE if trial.selected is not None else palette.BLUE,
            markerfacecolor=None if finished or trial.selected is not None else "none",
            markersize=9 if trial.selected is not None else 4.5,
            alpha=0.8,
            linestyle="none",
            zorder=4 if trial.selected is not None else 3,
        )
    if ranged:
        if dimension.kind.startswith("log"):
            axes.set_xscale("log")
            palette.log_ticks(axes.xaxis)
    else:
        axes.set_xticks(range(len(options)), options)
        axes.set_xlim(-0.5, max(len(options) - 0.5, 0.5))
    axes.set_ylim(0.97, 1.03 * min(_HIGHEST, max([1.2, *(ratio for _, ratio in points)])))
    axes.set_xlabel(name)


def _order(value: object) -> tuple[int, float, str]:
    """Numbers by size, then everything else by its text."""
    return (0, float(value), "") if isinstance(value, int | float) else (1, 0.0, str(value))
