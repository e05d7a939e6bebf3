"""Loss curves: every trial of a cell, where it stopped, and which one was selected."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from raypeft.report import palette
from raypeft.report.trials import FAILED, RUNNING, Trial

# How the curve of a trial in each state looks, and the marker it ends with.
_LOOKS = {
    "finished": (palette.GREEN, "-", "o"),
    "stopped": (palette.MUTED, "-", "x"),
    RUNNING: (palette.PINK, "--", ">"),
    **{state: (palette.ORANGE, "-", "X") for state in FAILED},
}


def draw_curves(trials: Sequence[Trial], rungs: Sequence[float], epochs: float) -> Figure:
    """Validation loss over epochs, one line a trial.

    Args:
        trials: of one cell.
        rungs: epochs at which ASHA may stop a trial.
        epochs: of a trial that runs to its end.
    """
    figure = Figure(figsize=(5.2, 3.5), layout="constrained")
    axes = figure.add_subplot()
    for rung in rungs:
        axes.axvline(rung, color=palette.LINES, linewidth=1, linestyle=(0, (3, 2)), zorder=0)
    for trial in sorted(trials, key=lambda trial: trial.selected is not None):
        if trial.curve:
            _draw(axes, trial)
    axes.set_xlim(-0.02 * epochs, 1.06 * epochs)
    axes.set_xlabel("epoch")
    axes.set_ylabel("validation loss, nats a token (log)")
    _scale(axes, trials)
    figure.legend(handles=_legend(trials, bool(rungs)), loc="outside lower center", ncols=3, columnspacing=1.2)
    return figure


def _draw(axes: Axes, trial: Trial) -> None:
    selected = trial.selected is not None
    color, style, marker = _LOOKS[trial.state]
    color, width, order = (palette.BLUE, 2.2, 4) if selected else (color, 1.1, 3)
    x, y = [point.epoch for point in trial.curve], [point.loss for point in trial.curve]
    axes.plot(x, y, color=color, linestyle=style, linewidth=width, zorder=order)
    axes.plot(x[-1:], y[-1:], color=color, marker=marker, markersize=6, markeredgewidth=1.6, zorder=order)
    axes.annotate(
        f"{trial.number}", (x[-1], y[-1]), xytext=(5, 3), textcoords="offset points", fontsize=8, color=color, zorder=5
    )
    for point in trial.curve:
        if point.report == trial.selected:
            axes.plot([point.epoch], [point.loss], color=color, marker="*", markersize=11, zorder=order + 1)


def _scale(axes: Axes, trials: Sequence[Trial]) -> None:
    """Logarithmic, from the lowest loss to the highest before training: what rises above is worse than untrained."""
    losses = [point.loss for trial in trials for point in trial.curve]
    positive = [loss for loss in losses if loss > 0]
    if not positive:
        return
    untrained = [trial.curve[0].loss for trial in trials if trial.curve]
    axes.set_yscale("log")
    axes.set_ylim(min(positive) / 1.15, max(untrained) * 1.15)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())


def _legend(trials: Sequence[Trial], rungs: bool) -> list[Line2D]:
    handles = []
    if any(trial.selected is not None for trial in trials):
        handles.append(_handle("selected (★ its checkpoint)", palette.BLUE, "-", "", 2.2))
    for state in dict.fromkeys(trial.state for trial in trials):
        color, style, marker = _LOOKS[state]
        handles.append(_handle(state, color, style, marker, 1.1))
    if rungs:
        handles.append(_handle("ASHA's rungs", palette.LINES, (0, (3, 2)), "", 1.2))
    return handles


def _handle(label: str, color: str, style: object, marker: str, width: float) -> Line2D:
    return Line2D([], [], color=color, linestyle=style, marker=marker, linewidth=width, markersize=6, label=label)
