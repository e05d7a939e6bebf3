"""The paper's figures drawn from our results, its stated values beside them."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raypeft.metrics.python_code import tokenize
from raypeft.report.figures import palette
from raypeft.report.paper.tables import TITLES
from raypeft.report.paper.values import ICL, JOINT, Compared, Paper, PaperRow, published, title

METRICS = ("em@10", "codebleu_flat")
LONGEST = 200
BIN = 8
GPU = 24
LONGEST_REASON = 40
COLORS = {
    "lora": palette.BLUE,
    ICL: palette.ORANGE,
    "qlora_8bit": palette.GREEN,
    "qlora_4bit": palette.PINK,
}


def paper_figures(paper: Paper) -> dict[str, tuple[str, Figure]]:
    """Each figure of the paper that the study has results for, by name, with its caption."""
    figures = {
        "paper-figure-1": ("Figure 1: peak memory of training (larger of both data sets)", _memory(paper)),
        "paper-figure-2": ("Figure 2: length of the code, in Python tokens, over test items", _lengths(paper)),
        "paper-figure-3": ("Figure 3 (RQ1): models tuned with LoRA; hollow: the paper", _lora(paper)),
        "paper-figure-4": ("Figure 4 (RQ2): LoRA beside the best of 1 to 3 examples", _icl(paper)),
        "paper-figure-5": ("Figure 5 (RQ4): LoRA and QLoRA; on the right peak memory", _quantized(paper)),
    }
    return {name: (caption, figure) for name, (caption, figure) in figures.items() if figure is not None}


def _memory(paper: Paper) -> Figure | None:
    bars = [(model, technique) for model, technique in published()["figure1"]]
    found = [paper.memory(*bar) for bar in bars]
    if all(value.ours is None for value in found):
        return None
    figure = Figure(figsize=(6.4, 0.8 + 0.32 * len(bars)), layout="constrained")
    axes = figure.add_subplot()
    for place, value in enumerate(found):
        _bar(axes, place, 0.62, value, palette.BLUE)
    techniques = published()["techniques"]
    axes.set_yticks(range(len(bars)), [f"{title(model)}, {techniques[technique]}" for model, technique in bars])
    _limit(axes, found, "Peak memory, GiB")
    return figure


def _lengths(paper: Paper) -> Figure | None:
    lengths = {}
    run = paper.numbers.run
    for row in paper.numbers.cells:
        if row.test_set in published()["datasets"] and row.state == "tested" and row.test_set not in lengths:
            rows = run.predictions(run.predictions_file(row.cell, row.test_set))
            lengths[row.test_set] = [len(tokenize(item.reference)) for item in rows]
    if not any(lengths.values()):
        return None
    figure = Figure(figsize=(5.6, 3.2), layout="constrained")
    axes = figure.add_subplot()
    edges = range(0, LONGEST + BIN, BIN)
    for (test_set, values), color in zip(sorted(lengths.items()), (palette.ORANGE, palette.BLUE), strict=False):
        counts = Counter(min(length, LONGEST) // BIN for length in values)
        heights = [counts[place] for place in range(len(edges))]
        axes.stairs(heights, [*edges, LONGEST + BIN], color=color, label=published()["datasets"][test_set]["title"])
    axes.set_xlabel(f"Python tokens (the last bin: {LONGEST} and more)")
    axes.set_ylabel("Test items")
    axes.legend()
    return figure


def _lora(paper: Paper) -> Figure | None:
    rows = [row for row in paper.table3 if row.technique == "lora"]
    if not _any(rows, METRICS):
        return None
    figure = Figure(figsize=(9.6, 4.4), layout="constrained")
    for axes, test_set in zip(figure.subplots(1, 2), published()["datasets"], strict=True):
        for row in rows:
            x, y = (row.values[test_set, metric] for metric in METRICS)
            axes.plot(x.paper, y.paper, "o", color=palette.BLUE, markerfacecolor="none", markersize=5, alpha=0.7)
            if x.ours is None or y.ours is None:
                continue
            axes.plot([x.ours, x.paper], [y.ours, y.paper], color=palette.LINES, linewidth=1, zorder=0)
            axes.plot(x.ours, y.ours, "o", color=palette.BLUE, markersize=6)
            axes.annotate(title(row.model), (x.ours, y.ours), xytext=(5, 4), textcoords="offset points", fontsize=8)
        axes.set_title(published()["datasets"][test_set]["title"])
        axes.set_xlabel(f"{TITLES[METRICS[0]]}, percent")
        axes.set_ylabel(f"{TITLES[METRICS[1]]}, percent")
    return figure


def _icl(paper: Paper) -> Figure | None:
    if not _any([row for row in paper.figure4 if row.technique == ICL], METRICS):
        return None
    return _grouped(paper.figure4, METRICS[::-1], list(published()["datasets"]))


def _quantized(paper: Paper) -> Figure | None:
    rows = paper.figure5
    if not _any([row for row in rows if row.technique != "lora"], ("em@10",)):
        return None
    figure = _grouped(rows, ("em@10",), list(published()["datasets"]), extra=True)
    axes = figure.axes[-1]
    found = [paper.memory(row.model, row.technique) for row in rows]
    for place, (row, value) in enumerate(zip(rows, found, strict=True)):
        _bar(axes, place, 0.7, value, COLORS[row.technique])
    axes.set_title("Peak memory")
    _limit(axes, found, "GiB")
    return figure


def _grouped(rows: Sequence[PaperRow], metrics: Sequence[str], test_sets: list[str], *, extra: bool = False) -> Figure:
    """Bars of every row, a panel a test set (down) and metric (across); ticks mark what the paper states."""
    across = max(len(metrics), 1) if not extra else len(test_sets) + 1
    down = 1 if extra else len(test_sets)
    figure = Figure(figsize=(4.6 * across, 0.9 + down * (0.5 + 0.26 * len(rows))), layout="constrained")
    panels = [(test_set, metric) for test_set in test_sets for metric in metrics]
    grid = figure.subplots(down, across, squeeze=False, sharey=True)
    techniques = {**published()["techniques"], JOINT: "Joint"}
    names = [f"{title(row.model)}, {techniques[row.technique]}" for row in rows]
    for axes, (test_set, metric) in zip(grid.flat, panels, strict=False):
        values = [row.values[test_set, metric] for row in rows]
        shown = [number for value in values for number in (value.ours, value.paper) if number is not None]
        top = max(shown, default=1.0)
        for place, (row, value) in enumerate(zip(rows, values, strict=True)):
            if value.paper is not None:
                axes.plot([value.paper] * 2, [place - 0.35, place + 0.35], color=palette.INK, linewidth=1.6)
            _bar(axes, place, 0.7, value, COLORS[row.technique], room=0.15 * top)
        axes.set_yticks(range(len(rows)), names)
        axes.set_title(f"{published()['datasets'][test_set]['title']}, {TITLES[metric]}")
        _finish(axes, len(rows), top, "Percent; the line is the paper's")
    edge = 0.0
    for _, members in groupby(rows, key=lambda row: row.model):
        edge += len(list(members))
        for axes in grid.flat:
            axes.axhline(edge - 0.5, color=palette.LINES, linewidth=0.8, zorder=0)
    return figure


def _any(rows: Sequence[PaperRow], metrics: Sequence[str]) -> bool:
    return any(value.ours is not None for row in rows for (_, m), value in row.values.items() if m in metrics)


def _bar(axes: Axes, place: int, height: float, value: Compared, color: str, room: float = 0) -> None:
    """A bar with its number, which stands clear of the paper's line where that is less than `room` beyond the bar."""
    if value.ours is None:
        text = value.missing if value.missing and len(value.missing) <= LONGEST_REASON else "no result"
        _label(axes, place, 0, text, color=palette.MUTED, fontstyle="italic")
        return
    axes.barh(place, value.ours, height=height, color=color)
    near = value.paper is not None and value.ours <= value.paper < value.ours + room
    _label(axes, place, value.paper if near and value.paper else value.ours, f"{value.ours:.1f}")


def _label(axes: Axes, place: int, end: float, text: str, **looks: Any) -> None:
    axes.annotate(text, (end, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8, **looks)


def _limit(axes: Axes, found: Sequence[Compared], label: str) -> None:
    axes.axvline(GPU, color=palette.MUTED, linewidth=1, linestyle=(0, (3, 2)))
    _finish(axes, len(found), max([GPU, *(value.ours for value in found if value.ours)]), label)


def _finish(axes: Axes, rows: int, top: float, label: str) -> None:
    axes.set_ylim(rows - 0.4, -0.6)
    axes.set_xlim(0, 1.18 * top)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(label)
