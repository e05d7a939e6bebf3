"""Tuning beside in-context learning: EM@k of each technique and of each number of examples."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raypeft.output.text import percent
from raypeft.report.figures import palette
from raypeft.report.numbers.cells import CellRow
from raypeft.report.numbers.gather import Pair
from raypeft.report.numbers.icl import IclRow

_LONGEST_TITLE = 28


def draw_comparison(
    pair: Pair, titles: Mapping[str, str], k: int, intervals: Mapping[str, tuple[float, float]]
) -> Figure:
    """Horizontal bars: tuned ones, then in-context learning with its runs as points and a bar of one deviation.

    Args:
        pair: a model on a data set.
        titles: of techniques.
        k: the k of EM@k.
        intervals: low and high bound of each technique's value, where there is one.
    """
    rows = len(pair.cells) + len(pair.icl)
    figure = Figure(figsize=(5.6, 0.8 + 0.3 * rows), layout="constrained")
    axes = figure.add_subplot()
    for place, cell in enumerate(pair.cells):
        _tuned(axes, place, cell, pair.metric, intervals.get(cell.cell.technique))
    for place, icl in enumerate(pair.icl, start=len(pair.cells)):
        _icl(axes, place, icl, pair.metric)
    if (best := pair.best_icl) is not None:
        axes.axvline(best.metrics[pair.metric].mean, color=palette.ORANGE, linewidth=1, linestyle=(0, (3, 2)), zorder=0)
    labels = [palette.shortened(titles[cell.cell.technique], _LONGEST_TITLE) for cell in pair.cells]
    labels += [f"ICL, {row.shots}" for row in pair.icl]
    axes.set_yticks(range(rows), labels)
    best_rows = [cell.best for cell in pair.cells] + [icl.best for icl in pair.icl]
    for label, bold in zip(axes.get_yticklabels(), best_rows, strict=True):
        label.set_fontweight(_weight(bold))
    axes.set_ylim(rows - 0.4, -0.6)
    ends = [high for _, high in intervals.values()]
    axes.set_xlim(0, 1.18 * max([1.0, *_values(pair), *ends]))
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"EM@{k} on the test items, percent")
    return figure


def _tuned(axes: Axes, place: int, row: CellRow, metric: str, interval: tuple[float, float] | None) -> None:
    value = row.metrics.get(metric)
    if value is None:
        _label(axes, place, 0, row.state, fontstyle="italic", color=palette.MUTED)
        return
    axes.barh(place, value, height=0.62, color=palette.BLUE)
    if interval is not None:
        axes.plot(interval, [place, place], color=palette.INK, linewidth=1.2, marker="|", markersize=6)
    _label(axes, place, interval[1] if interval else value, percent(value), fontweight=_weight(row.best))


def _icl(axes: Axes, place: int, row: IclRow, metric: str) -> None:
    spread = row.metrics.get(metric)
    if spread is None:
        _label(axes, place, 0, "no result", fontstyle="italic", color=palette.MUTED)
        return
    axes.barh(place, spread.mean, height=0.62, color=palette.ORANGE, xerr=spread.sd, ecolor=palette.INK, capsize=2.5)
    if len(spread.values) > 1:
        axes.plot(spread.values, [place] * len(spread.values), "o", color=palette.INK, markersize=2.5, alpha=0.6)
    text = percent(spread.mean) if spread.sd is None else f"{percent(spread.mean)} ± {percent(spread.sd)}"
    _label(axes, place, max([spread.mean + (spread.sd or 0), *spread.values]), text, fontweight=_weight(row.best))


def _label(axes: Axes, place: int, end: float, text: str, **looks: Any) -> None:
    axes.annotate(text, (end, place), xytext=(5, 0), textcoords="offset points", va="center", fontsize=9, **looks)


def _weight(bold: bool) -> str:
    return "bold" if bold else "normal"


def _values(pair: Pair) -> list[float]:
    tuned = [value for row in pair.cells if (value := row.metrics.get(pair.metric)) is not None]
    spreads = [row.metrics[pair.metric] for row in pair.icl if pair.metric in row.metrics]
    return tuned + [value for spread in spreads for value in spread.values]
