"""Exact match in three further views: over k, over the number of examples, and techniques against models."""

from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from raypeft.output.text import percent
from raypeft.report.figures import palette
from raypeft.report.numbers.cells import CellRow
from raypeft.report.numbers.gather import Pair
from raypeft.report.numbers.icl import IclRow

# Text on the cells of a heat map keeps its colour in every theme, as the cells keep theirs.
_ON_DARK, _ON_LIGHT = "#fdfdfd", "#111111"
_LONGEST_TITLE = 20


def draw_over_k(pair: Pair, ks: Sequence[int], titles: Mapping[str, str]) -> Figure:
    """EM@k over k: a line a technique, and the best number of examples dashed."""
    figure = Figure(figsize=(5.2, 3.5), layout="constrained")
    axes = figure.add_subplot()
    looks = palette.looks([row.cell.technique for row in pair.cells])
    for row in pair.cells:
        values = [value for k in ks if (value := row.metrics.get(f"em@{k}")) is not None]
        if len(values) == len(ks):
            color, marker = looks[row.cell.technique]
            axes.plot(ks, values, color=color, marker=marker, markersize=5, label=titles[row.cell.technique])
    if (best := pair.best_icl) is not None:
        spreads = [best.metrics.get(f"em@{k}") for k in ks]
        values = [spread.mean for spread in spreads if spread]
        label = f"ICL, {best.shots}"
        axes.plot(
            ks[: len(values)], values, color=palette.MUTED, linestyle=(0, (3, 2)), marker="d", markersize=5, label=label
        )
    axes.set_xticks(ks, [str(k) for k in ks])
    axes.set_xlabel("k, candidates looked at")
    axes.set_ylabel("EM@k on the test items, percent")
    axes.set_ylim(bottom=0)
    if axes.lines:
        figure.legend(loc="outside lower center", ncols=3, columnspacing=1.2)
    return figure


def draw_over_examples(rows: Sequence[IclRow], metric: str, label: str, titles: Mapping[str, str]) -> Figure:
    """In-context learning over the number of examples: every seed a point, their mean a line, one line a model."""
    figure = Figure(figsize=(5.2, 3.5), layout="constrained")
    axes = figure.add_subplot()
    looks = palette.looks(dict.fromkeys(row.model for row in rows))
    for place, (model, (color, marker)) in enumerate(looks.items()):
        own = sorted(
            (row for row in rows if row.model == model and metric in row.metrics), key=lambda row: row.examples
        )
        # Models stand side by side, so that the points of one do not cover those of another.
        shift = 0.06 * (place - (len(looks) - 1) / 2)
        for row in own:
            values = row.metrics[metric].values
            axes.plot([row.examples + shift] * len(values), values, marker, color=color, markersize=4, alpha=0.55)
        means = [row.metrics[metric].mean for row in own]
        axes.plot([row.examples + shift for row in own], means, color=color, linewidth=1.6)
        axes.plot([], [], marker, color=color, linestyle="-", markersize=4, label=titles[model])
    axes.set_xticks(sorted({row.examples for row in rows}))
    axes.set_xlabel("examples in the prompt")
    axes.set_ylabel(label)
    axes.set_ylim(bottom=0)
    figure.legend(loc="outside lower center", ncols=2, columnspacing=1.2)
    return figure


def draw_heat_map(rows: Sequence[CellRow], metric: str, label: str, titles: Mapping[str, str]) -> Figure:
    """Techniques against models, each place with its value; a dash where there is none."""
    models = list(dict.fromkeys(row.cell.model for row in rows))
    techniques = list(dict.fromkeys(row.cell.technique for row in rows))
    values = {(row.cell.technique, row.cell.model): row.metrics.get(metric) for row in rows}
    figure = Figure(figsize=(2.2 + 0.9 * len(models), 1.6 + 0.36 * len(techniques)), layout="constrained")
    axes = figure.add_subplot()
    colors = matplotlib.colormaps["cividis"]
    scale = Normalize(0, max([1.0, *(value for value in values.values() if value is not None)]))
    for y, technique in enumerate(techniques):
        for x, model in enumerate(models):
            value = values.get((technique, model))
            if value is None:
                axes.text(x, y, "–", ha="center", va="center", color=palette.MUTED)
                continue
            axes.add_patch(
                matplotlib.patches.Rectangle((x - 0.48, y - 0.47), 0.96, 0.94, facecolor=colors(scale(value)))
            )
            ink = _ON_LIGHT if scale(value) > 0.55 else _ON_DARK
            axes.text(x, y, percent(value), ha="center", va="center", color=ink)
    short = {name: palette.shortened(titles[name], _LONGEST_TITLE) for name in (*models, *techniques)}
    axes.set_xlim(-0.5, len(models) - 0.5)
    axes.set_ylim(len(techniques) - 0.5, -0.5)
    axes.set_xticks(
        range(len(models)),
        [short[name] for name in models],
        rotation=30,
        ha="right",
    )
    axes.set_yticks(range(len(techniques)), [short[name] for name in techniques])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(label, fontsize=10)
    return figure
