"""Figures of a report as files, and as SVG that takes the colours of the page it stands in."""

import io
import re
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from raypeft.output.files import write_bytes, write_text
from raypeft.output.text import counts, printable
from raypeft.report.figures import palette
from raypeft.report.figures.bars import draw_comparison
from raypeft.report.figures.curves import draw_curves
from raypeft.report.figures.gallery import groups
from raypeft.report.numbers.gather import Numbers
from raypeft.report.paper.figures import paper_figures
from raypeft.report.paper.values import Paper
from raypeft.spec.plan import Cell


@dataclass(frozen=True)
class Drawing:
    """A figure in a page.

    Attributes:
        label: what it shows, in words.
        svg: without width, height and clashing ids.
        width: in inches, so that the page can give all figures letters of one size.
    """

    label: str
    svg: str
    width: float

    @property
    def wide(self) -> bool:
        """Whether it needs more than one column."""
        return self.width > 6


@dataclass(frozen=True)
class Gallery:
    """Figures of one kind, with their headings; `absent` says why there is none."""

    name: str
    title: str
    caption: str
    pictures: list[tuple[str, Drawing]]
    absent: str


@dataclass(frozen=True)
class Figures:
    """Figures of a run: one a model, data set and test set, one a reported cell, the paper's, and galleries."""

    comparisons: dict[tuple[str, str, str], Drawing]
    curves: dict[Cell, Drawing]
    paper: dict[str, Drawing]
    galleries: list[Gallery]


def write_figures(numbers: Numbers, folder: Path) -> Figures:
    """Draw every figure and write it as SVG and PNG; the same numbers give the same bytes."""
    resolved, plan = numbers.run.plan.resolved, numbers.run.plan
    techniques = {name: printable(technique.title) for name, technique in resolved.techniques.items()}
    rungs = [rung * resolved.study.training.evaluate_every for rung in plan.rungs]
    figures = Figures({}, {}, {}, [])
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(palette.STYLE)
        for pair in numbers.pairs:
            other = "" if pair.test_set == pair.dataset else f", tested on {pair.test_set}"
            label = f"EM@{numbers.k} of {pair.model} on {pair.dataset}{other}, tuned and with examples in the prompt"
            intervals = {
                row.cell.technique: (found.low, found.high)
                for row in pair.cells
                if (found := numbers.evidence.interval(row, numbers.metric)) is not None
            }
            figure = draw_comparison(pair, techniques, numbers.k, intervals)
            name = f"comparison--{pair.model}--{pair.dataset}" + (f"--{pair.test_set}" if other else "")
            figures.comparisons[pair.model, pair.dataset, pair.test_set] = _save(figure, folder / name, label)
        for row in numbers.searched:
            trials = numbers.trials_of(row.cell)
            if not any(trial.curve for trial in trials):
                continue
            label = f"Validation loss over epochs, trials of {row.cell.id}: {counts(row.trials)}"
            figure = draw_curves(trials, rungs, resolved.study.training.epochs)
            name = f"loss--{row.cell.model}--{row.cell.dataset}--{row.cell.technique}"
            figures.curves[row.cell] = _save(figure, folder / name, label)
        for name, (label, figure) in paper_figures(Paper(numbers)).items():
            figures.paper[name] = _save(figure, folder / name, label)
        for group in groups(numbers):
            pictures = [(one.title, _save(one.figure, folder / one.name, one.label)) for one in group.sketches]
            figures.galleries.append(Gallery(group.name, group.title, group.caption, pictures, group.absent))
    return figures


def _save(figure: Figure, path: Path, label: str) -> Drawing:
    # `savefig` would lay the figure out and draw it without output before each of the two files.
    if (layout := figure.get_layout_engine()) is not None:
        layout.execute(figure)
        figure.set_layout_engine("none")
    buffer, pixels = io.StringIO(), io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": path.name}):
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    figure.set_dpi(matplotlib.rcParams["savefig.dpi"])
    FigureCanvasAgg(figure).print_png(pixels, metadata={"Software": None})
    write_text(path.with_name(f"{path.name}.svg"), buffer.getvalue())
    write_bytes(path.with_name(f"{path.name}.png"), pixels.getvalue())
    return Drawing(label, _inline(buffer.getvalue(), path.name), float(figure.get_figwidth()))


def _inline(svg: str, name: str) -> str:
    """The SVG element alone, scaled by its container, coloured by the page's variables, its ids made the page's own."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (?:width|height)="[\d.]+pt"', "", svg, count=2)
    svg = _slim(svg)
    prefix = re.sub(r"\W", "-", name)
    svg = re.sub(r'(\bid="|url\(#|xlink:href="#)', rf"\g<1>{prefix}-", svg)
    for color, variable in palette.VARIABLES.items():
        svg = svg.replace(color, variable)
    return svg


def _slim(svg: str) -> str:
    """Without what a page does not need of it: names nothing refers to, hundredths of a point, indentation."""
    used = set(re.findall(r"#([^)\"]+)", svg))
    svg = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", svg)
    svg = re.sub(r' (?:d|x|y|transform)="[^"]*"', lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]), svg)
    svg = re.sub(r"font-family: [^;\"]*", "font-family: 'DejaVu Sans', Verdana, sans-serif", svg)
    return re.sub(r"\n +", "\n", svg)
