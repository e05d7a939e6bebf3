"""Loss curves: every trial of a cell, where it stopped, and which one was selected."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from raypeft.report.figures import palette
from raypeft.report.numbers.trials import Trial
from raypeft.runs.records import FAILED, State

# Times the loss before training from where a curve is cut off, so that one that diverges does not flatten the others.
_DIVERGED = 2.0

# How the curve of a trial in each state looks, and the marker it ends with.
_LOOKS = {
    State.FINISHED: (palette.GREEN, "-", "o"),
    State.STOPPED: (palette.MUTED, "-", "x"),
    State.PAUSED: (palette.PINK, ":", ">"),
    State.RUNNING: (palette.PINK, "--", ">"),
    **{state: (palette.ORANGE, "-", "X") for state in FAILED},
}


def draw_curves(trials: Sequence[Trial], rungs: Sequence[float], epochs: float) -> Figure:
    """Validation loss over epochs, one line a trial.

    Args:
        trials: of one cell, at least one of them with a report.
        rungs: epochs at which ASHA may stop a trial.
        epochs: of a trial that runs to its end.
    """
    figure = Figure(figsize=(5.2, 3.5), layout="constrained")
    axes = figure.add_subplot()
    for rung in rungs:
        axes.axvline(rung, color=palette.LINES, linewidth=1, linestyle=(0, (3, 2)), zorder=0)
    top = _scale(axes, trials)
    for trial in sorted(trials, key=lambda trial: trial.selected is not None):
        if trial.curve:
            _draw(axes, trial, top)
    axes.set_xlim(-0.02 * epochs, 1.06 * epochs)
    axes.set_xlabel("epoch")
    axes.set_ylabel("validation loss, nats a token (log)")
    figure.legend(handles=_legend(trials, bool(rungs)), loc="outside lower center", ncols=4, columnspacing=1.2)
    return figure


def _draw(axes: Axes, trial: Trial, top: float) -> None:
    selected = trial.selected is not None
    color, style, marker = _LOOKS[trial.state]
    color, width, order = (palette.BLUE, 2.2, 4) if selected else (color, 1.1, 3)
    axes.plot(
        [point.epoch for point in trial.curve],
        [point.loss for point in trial.curve],
        color=color,
        linestyle=style,
        linewidth=width,
        zorder=order,
    )
    end = trial.curve[-1]
    above = end.loss > top
    place = (end.epoch, min(end.loss, top))
    axes.plot(*place, color=color, marker=marker, markersize=6, markeredgewidth=1.6, zorder=order, clip_on=False)
    text = f"{trial.number} ↑" if above else f"{trial.number}"
    axes.annotate(text, place, xytext=(5, 3), textcoords="offset points", fontsize=8, color=color, zorder=5)
    for point in trial.curve:
        if point.report == trial.selected:
            axes.plot([point.epoch], [point.loss], color=color, marker="*", markersize=11, zorder=order + 1)


def _scale(axes: Axes, trials: Sequence[Trial]) -> float:
    """Logarithmic, and no higher than a few times the loss before training; returns the highest loss shown."""
    losses = [point.loss for trial in trials for point in trial.curve]
    untrained = [trial.curve[0].loss for trial in trials if trial.curve]
    top = min(max(losses), _DIVERGED * max(untrained))
    axes.set_yscale("log")
    low = min((loss for loss in losses if loss > 0), default=1.0)  # zero has no place on the scale
    top = max(top, low)
    axes.set_ylim(low / 1.15, top * 1.1)
    decades = max(losses) > 10 * low
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades else (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)))
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())
    return top


def _legend(trials: Sequence[Trial], rungs: bool) -> list[Line2D]:
    handles = []
    if any(trial.selected is not None for trial in trials):
        handles.append(_handle("selected ★", palette.BLUE, "-", "", 2.2))
    for state in dict.fromkeys(trial.state for trial in trials):
        color, style, marker = _LOOKS[state]
        handles.append(_handle(state, color, style, marker, 1.1))
    if rungs:
        handles.append(_handle("ASHA's rungs", palette.LINES, (0, (3, 2)), "", 1.2))
    return handles


def _handle(label: str, color: str, style: object, marker: str, width: float) -> Line2D:
    return Line2D([], [], color=color, linestyle=style, marker=marker, linewidth=width, markersize=6, label=label)
