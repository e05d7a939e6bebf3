"""Figures: what is drawn where, and files that do not change without a reason."""

import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from benchmarks.recording import DATASET, DECODER, Recorder
from raypeft.report.figures.bars import draw_comparison
from raypeft.report.figures.curves import draw_curves
from raypeft.report.figures.drawing import write_figures
from raypeft.report.numbers.gather import gather
from raypeft.runs.folder import Run
from raypeft.spec.plan import Cell


def lines(run: Run) -> list[Line2D]:
    numbers = gather(run)
    figure = draw_curves(numbers.trials_of(numbers.cells[0].cell), [1.0, 3.0], 5.0)
    return list(figure.axes[0].lines)


def points(line: Line2D) -> list[tuple[float, float]]:
    return [(round(float(x), 4), float(y)) for x, y in np.asarray(line.get_xydata())]


def test_curves_end_where_their_trials_did(partial: Run) -> None:
    drawn = lines(partial)
    assert [points(line) for line in drawn if line.get_marker() == "x"] == [[(1.0, 1.75)]]
    assert sorted(points(line)[0] for line in drawn if line.get_marker() == "o") == [(1.2, 0.8), (1.2, 1.1)]
    assert [(0.0, 2.0), (0.2, 1.9), (0.4, 1.85), (0.6, 1.8), (0.8, 1.78), (1.0, 1.75)] in map(points, drawn)


def test_rungs_and_the_selected_checkpoint_are_marked(partial: Run) -> None:
    drawn = lines(partial)
    assert [points(line) for line in drawn[:2]] == [[(1.0, 0.0), (1.0, 1.0)], [(3.0, 0.0), (3.0, 1.0)]]
    assert [points(line) for line in drawn if line.get_marker() == "*"] == [[(0.6, 0.75)]]


def test_the_end_of_a_diverged_trial_stays_in_sight(begin: Callable[..., Recorder]) -> None:
    record = begin()
    cell = Cell(DECODER, DATASET, "lora")
    record.trial(cell, 0, {}, [2.0, 1.0], 10.0)
    record.trial(cell, 1, {}, [2.0, 50.0, 90.0], 0.0, "stopped")
    axes = draw_curves(gather(record.run).trials, [], 5.0).axes[0]
    assert [points(line) for line in axes.lines if line.get_marker() == "x"] == [[(0.4, 4.0)]]
    assert [text.get_text() for text in axes.texts] == ["0", "1 ↑"]
    assert 4.0 < axes.get_ylim()[1] < 5.0


def test_bars_have_the_lengths_of_the_numbers(partial: Run) -> None:
    decoder = gather(partial).pairs[0]
    axes = draw_comparison(
        decoder, {"lora": "LoRA", "ia3": "IA3", "prefix_tuning": "Prefix"}, 10, {"ia3": (30.0, 42.0)}
    ).axes[0]
    assert [bar.get_width() for bar in axes.patches if isinstance(bar, Rectangle)] == [45.0, 36.25, 10.0, 16.0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "LoRA",
        "IA3",
        "Prefix",
        "ICL, 0 examples",
        "ICL, 2 examples",
    ]
    assert [(30.0, 1.0), (42.0, 1.0)] in [points(line) for line in axes.lines]
    assert "test failed" in [text.get_text() for text in axes.texts]


def test_files_are_the_same_each_time(partial: Run, tmp_path: Path) -> None:
    numbers = gather(partial)
    first, second = (write_figures(numbers, tmp_path / name) for name in ("first", "second"))
    assert first == second
    names = {path.name for path in (tmp_path / "first").iterdir()}
    assert "loss--tiny-decoder--snippets--lora.svg" in names and "comparison--tiny-decoder--snippets.png" in names
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_svg_is_well_formed_and_inlined_without_clashes(partial: Run, tmp_path: Path) -> None:
    figures = write_figures(gather(partial), tmp_path)
    others = [drawing for gallery in figures.galleries for _, drawing in gallery.pictures]
    # Three costs, techniques by models, one pair over k, examples, slices of three techniques; no lengths.
    assert [len(gallery.pictures) for gallery in figures.galleries] == [3, 1, 1, 1, 3, 0]
    drawings = [*figures.comparisons.values(), *figures.curves.values(), *others]
    assert len(drawings) - len(others) == 2 + 4  # the out-of-memory cell and the one not begun have no curve
    ids: list[str] = []
    for drawing in drawings:
        root = ElementTree.fromstring(drawing.svg)
        own = [element.get("id", "") for element in root.iter() if element.get("id")]
        assert not {"width", "height"} & set(root.keys())
        for target in re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', drawing.svg):
            assert "".join(target) in own
        ids += own
    assert len(ids) == len(set(ids))
