"""Figures of costs, of hyperparameters and of lengths: fronts by hand, importance of a known function."""

from collections.abc import Callable
from math import log10
from pathlib import Path

import numpy as np
import optuna
import pytest
from matplotlib.lines import Line2D

from benchmarks.recording import DATASET, DECODER, Recorder, predictions, score_rows, start
from raypeft.metrics.items import measure
from raypeft.report.figures.effectiveness import draw_heat_map, draw_over_examples, draw_over_k
from raypeft.report.figures.gallery import groups
from raypeft.report.figures.lengths import draw_lengths
from raypeft.report.figures.search import draw_importance, draw_slices, read_importance
from raypeft.report.figures.tradeoffs import TIME, draw_tradeoffs, pareto_front
from raypeft.report.numbers.gather import gather
from raypeft.runs.folder import Run, scores_file
from raypeft.spec.plan import Cell

TITLES = {"lora": "LoRA", "ia3": "IA3", "prefix_tuning": "Prefix tuning", "tiny-decoder": "Tiny"}


def xy(line: Line2D) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in np.asarray(line.get_xydata())]


def test_the_front_is_what_nothing_beats() -> None:
    points = [(5.0, 50.0), (1.0, 20.0), (2.0, 10.0), (2.0, 40.0), (4.0, 40.0), (9.0, 49.0), (5.0, 50.0)]
    assert pareto_front(points) == [(1.0, 20.0), (2.0, 40.0), (5.0, 50.0)]
    for cost, value in points:
        beaten = any(c <= cost and v >= value and (c, v) != (cost, value) for c, v in points)
        assert ((cost, value) in pareto_front(points)) is not beaten
    assert pareto_front([]) == []


def test_costs_are_drawn_with_their_front(compared: Run) -> None:
    axes = draw_tradeoffs(gather(compared).cells, TIME, "em@10", "EM@10", TITLES).axes[0]
    *points, steps = axes.lines
    assert [xy(point)[0] for point in points] == [(9.0, 75.0), (9.0, 30.0), (9.0, 70.0)]
    assert xy(steps)[0] == (9.0, 75.0)
    assert axes.get_xscale() == "log"


def test_exact_match_over_k_and_over_examples(compared: Run) -> None:
    numbers = gather(compared)
    axes = draw_over_k(numbers.pairs[0], [1, 2, 5, 10], TITLES).axes[0]
    lora, ia3, _, icl = axes.lines
    assert xy(lora) == [(1, 75), (2, 75), (5, 75), (10, 75)] and xy(ia3)[3] == (10, 30)
    assert [y for _, y in xy(icl)] == [0, 0, 0, 25]
    lines = draw_over_examples(numbers.icl, "em@10", "EM@10", TITLES).axes[0].lines
    assert xy(lines[1]) == [(2, 25), (2, 30), (2, 20)]  # the seeds
    assert xy(lines[2]) == [(0, 0), (2, 25)]  # their means


def test_the_heat_map_has_every_place(partial: Run) -> None:
    numbers = gather(partial)
    titles = TITLES | {"tiny-encoder-decoder": "Tiny encoder-decoder"}
    axes = draw_heat_map(numbers.cells, "em@10", "EM@10", titles).axes[0]
    shown = {text.get_position(): text.get_text() for text in axes.texts}
    assert shown == {(0, 0): "45.0", (0, 1): "36.2", (0, 2): "–", (1, 0): "–", (1, 1): "–", (1, 2): "–"}


def test_slices_are_relative_to_the_best_of_the_cell(compared: Run) -> None:
    numbers = gather(compared)
    trials = numbers.trials_of(Cell(DECODER, DATASET, "lora"))
    space = numbers.run.plan.resolved.techniques["lora"].search
    figure = draw_slices(trials, space)
    (axes,) = figure.axes  # only the learning rate was drawn
    assert [xy(line)[0] for line in axes.lines] == [
        (0.001, pytest.approx(1.5 / 1.3)),
        (0.002, pytest.approx(1.4 / 1.3)),
        (0.003, 1.0),
    ]
    assert axes.get_xlabel() == "learning_rate" and axes.get_xscale() == "log"


def test_importance_finds_what_the_loss_depends_on(tmp_path: Path) -> None:
    run = start(tmp_path / "run", trials=40)
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(run.optuna_file)))
    cells = [Cell(DECODER, DATASET, "lora"), Cell(DECODER, DATASET, "ia3")]
    for cell, trials in zip(cells, (40, 10), strict=True):
        study = optuna.create_study(
            study_name=cell.id, storage=storage, sampler=optuna.samplers.RandomSampler(seed=1), direction="minimize"
        )
        for number in range(trials):
            trial = study.ask()
            rate = trial.suggest_float("learning_rate", 1e-5, 1e-2, log=True)
            dropout = trial.suggest_float("lora_dropout", 0.0, 0.1)
            trial.report(1 + abs(log10(rate) + 3) + 0.01 * dropout, 1)
            stopped = number % 3 == 0
            state = optuna.trial.TrialState.PRUNED if stopped else optuna.trial.TrialState.COMPLETE
            study.tell(trial, None if stopped else 1 + abs(log10(rate) + 3), state=state)
    (found,) = read_importance(run, cells)  # ten trials are too few
    assert (found.cell, found.trials) == (cells[0], 40)
    assert found.shares["learning_rate"] > 0.8 and sum(found.shares.values()) == pytest.approx(1.0)
    axes = draw_importance([found]).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["learning_rate", "lora_dropout"]


def test_lengths_are_shares_of_items() -> None:
    lengths = {"tiny": {"prompt": np.array([4, 2, 8, 2]), "reference": np.array([1, 1, 1, 3])}}
    figure = draw_lengths(lengths, {"prompt": 10, "code": 5}, ["Tiny"])
    left, right = figure.axes
    assert xy(left.lines[0]) == [(2, 25), (2, 50), (4, 75), (8, 100)]
    assert [line.get_xdata()[0] for line in (left.lines[-1], right.lines[-1])] == [10, 5]


def test_recorded_lengths_are_shown(begin: Callable[..., Recorder]) -> None:
    record = begin("models=[tiny-decoder]", techniques=("lora",))
    cell = Cell(DECODER, DATASET, "lora")
    rows = predictions(range(5), items=12)
    record.test(cell, score_rows(rows), rows)
    measure(
        [row["id"] for row in rows],
        [row["reference"] for row in rows],
        [row["candidates"] for row in rows],
        {"prompt": [9] * 12, "reference": [7] * 12, "prediction": [8] * 12},
    ).save(scores_file(record.run.predictions_file(cell)))
    *_, lengths = groups(gather(record.run))
    assert (lengths.name, len(lengths.sketches)) == ("lengths", 1)
