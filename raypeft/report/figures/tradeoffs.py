"""What exact match costs: trainable parameters, peak memory and training time of the tested cells of one test set."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from raypeft.report.figures import palette
from raypeft.report.numbers.cells import CellRow


@dataclass(frozen=True)
class Cost:
    """One kind of cost: its key in a selection, and how its axis is called."""

    key: str
    label: str


PARAMETERS = Cost("trainable_parameters", "trainable parameters (log)")
MEMORY = Cost("peak_memory_mib", "peak memory of the selected trial, MiB (log)")
TIME = Cost("training_seconds", "training time of the selected trial, s (log)")


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The Pareto front of (cost, value) points: those that no other has at most the cost and at least the value of.

    Ascending in both; of equal points one stays.
    """
    best: list[tuple[float, float]] = []
    for cost, value in sorted(set(points), key=lambda point: (point[0], -point[1])):
        if not best or value > best[-1][1]:
            best.append((cost, value))
    return best


def draw_tradeoffs(rows: Sequence[CellRow], cost: Cost, metric: str, label: str, titles: Mapping[str, str]) -> Figure:
    """Points of cells, coloured by technique, marked by model, with the Pareto front as steps.

    Args:
        rows: tested cells of one test set.
        cost: on the horizontal axis.
        metric: key of the effectiveness.
        label: of its axis.
        titles: of techniques and models.
    """
    techniques = palette.looks(dict.fromkeys(row.cell.technique for row in rows))
    models = palette.looks(dict.fromkeys(row.cell.model for row in rows))
    figure = Figure(figsize=(5.2, 3.9), layout="constrained")
    axes = figure.add_subplot()
    _panel(axes, rows, cost, metric, lambda row: (techniques[row.cell.technique][0], models[row.cell.model][1]))
    axes.set_xlabel(cost.label)
    axes.set_ylabel(label)
    handles = [_handle(titles[name], color, "o") for name, (color, _) in techniques.items()]
    if len(models) > 1:
        handles += [_handle(titles[name], palette.MUTED, marker) for name, (_, marker) in models.items()]
    handles.append(Line2D([], [], color=palette.MUTED, linewidth=1, linestyle=(0, (3, 2)), label="Pareto front"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, columnspacing=1.2)
    return figure


def _panel(
    axes: Axes, rows: Sequence[CellRow], cost: Cost, metric: str, look: Callable[[CellRow], tuple[str, str]]
) -> None:
    points = []
    for row in rows:
        spent, value = getattr(row.selection, cost.key), row.metrics.get(metric)
        if spent and value is not None:
            color, marker = look(row)
            axes.plot([spent], [value], marker=marker, color=color, markersize=7, linestyle="none", clip_on=False)
            points.append((float(spent), value))
    if points:
        steps = pareto_front(points)
        axes.step(
            [*(point[0] for point in steps), max(point[0] for point in points)],
            [*(point[1] for point in steps), steps[-1][1]],
            where="post",
            color=palette.MUTED,
            linewidth=1,
            linestyle=(0, (3, 2)),
            zorder=0,
        )
        axes.set_xscale("log")
        axes.margins(x=0.08)
        palette.log_ticks(axes.xaxis, suffixes=cost is PARAMETERS)
    axes.set_ylim(0, 1.08 * max([1.0, *(value for _, value in points)]))


def _handle(label: str, color: str, marker: str) -> Line2D:
    return Line2D([], [], color=color, marker=marker, linestyle="none", markersize=7, label=label)
