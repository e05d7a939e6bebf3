"""Suggestions: the paper's point first, each cell by itself, and the same whether interrupted or not."""

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from raypeft.output.files import write_text
from raypeft.runs.folder import Run
from raypeft.runs.ledger import Ledger, remaining
from raypeft.runs.records import State
from raypeft.spec.plan import Cell
from raypeft.spec.resolve import resolve
from raypeft.sweep.searcher import CellSearcher, storage
from tests.said import message


def start(folder: Path, trials: int = 6, sampler: str = "tpe") -> Run:
    run = Run(folder)
    resolved = resolve(
        "quickstart", models=["tiny-decoder"], techniques=["lora", "ia3"], trials=trials,
        settings=[f"search.sampler={sampler}"],
    )  # fmt: skip
    write_text(run.study_file, resolved.dump())
    return run


def searcher_of(run: Run) -> tuple[CellSearcher, Ledger]:
    ledger = Ledger(run)
    searcher = CellSearcher(run.plan, ledger, run.folder)
    searcher.enqueue(remaining(run.plan, ledger))
    return searcher, ledger


def finish(searcher: CellSearcher, ledger: Ledger, config: dict[str, Any]) -> None:
    """A made-up trial whose loss depends on its learning rate; bad ones are stopped early."""
    cell = Cell.parse(config["cell"])
    rate = config["hyperparameters"]["learning_rate"]
    loss = abs(rate - 1e-3) / 1e-3
    for report in range(3):
        row = {"report": report, "epoch": 0.2 * report, "step": report, "validation_loss": loss + 1 / (report + 1),
               "em@10": 0.0, "em@10_computed": True,
               "training_seconds": 1.0, "evaluation_seconds": 1.0, "peak_memory_mib": 1.0,
               "trainable_parameters": 1, "parameters": 2}  # fmt: skip
        searcher.observe(
            ledger.record(config["trial"], cell, config["number"], message(**row), config["hyperparameters"])
        )
    state = State.STOPPED if loss > 1 else State.FINISHED
    searcher.conclude(ledger.end(config["trial"], cell, config["number"], config["hyperparameters"], state))


def test_the_papers_point_comes_first_and_rounds_follow(tmp_path: Path) -> None:
    searcher, _ = searcher_of(start(tmp_path))
    configs = [searcher.suggest(f"id{index}") for index in range(12)]
    assert searcher.suggest("id12") == "FINISHED"
    assert [config["cell"].rsplit("/", 1)[1] for config in configs] == ["lora", "ia3"] * 6
    assert [config["number"] for config in configs] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert configs[0]["hyperparameters"] == {
        "target_modules": "attention", "r": 16, "lora_alpha": 32, "lora_dropout": 0.05, "learning_rate": 3e-4
    }  # fmt: skip
    assert configs[1]["hyperparameters"] == {"learning_rate": 3e-4}
    assert configs[0]["trial"] == "tiny-decoder·lora·snippets·000"
    for config in configs:
        technique = searcher.plan.resolved.techniques[Cell.parse(config["cell"]).technique]
        assert list(config["hyperparameters"]) == list(technique.search)
        drawn = technique.to_drawn(config["hyperparameters"])
        assert all(technique.space[name].contains(value) for name, value in drawn.items())
    assert len({str(config["hyperparameters"]) for config in configs[::2]}) == 6


def test_the_packages_point_comes_first_where_the_study_says_so(tmp_path: Path) -> None:
    def first(point: str) -> dict[str, Any]:
        run = Run(tmp_path / point)
        named = ["lora", "ia3", "prefix_tuning"]
        resolved = resolve("quickstart", techniques=named, settings=["mode=paper", f"protocol.point={point}"])
        write_text(run.study_file, resolved.dump())
        searcher, ledger = searcher_of(run)
        points = {}
        for cell in run.plan.cells:
            points[cell.technique] = searcher.hyperparameters(cell, 0)
            ended = ledger.end(cell.trial_name(0), cell, 0, points[cell.technique], State.FINISHED)
            papers = resolved.study.protocol.point_of(cell.technique) == "paper" or cell.technique == "lora"
            assert ended.paper_point is papers
        assert run.plan.resolved.points == points
        return points

    paper, package = first("paper"), first("package")
    assert package["lora"] == paper["lora"]
    assert (paper["ia3"], package["ia3"]) == ({"learning_rate": 3e-4}, {"learning_rate": 3e-3})
    assert paper["prefix_tuning"] == {"num_virtual_tokens": 20, "learning_rate": 3e-2}
    assert package["prefix_tuning"] == {"num_virtual_tokens": 10, "learning_rate": 3e-2}
    assert first("{ia3: package}") == {**paper, "ia3": package["ia3"]}


@pytest.mark.parametrize("sampler", ["tpe", "random"])
@pytest.mark.parametrize("breaks", [{1}, {3, 4}, set(range(12))])
def test_interruptions_do_not_change_the_suggestions(tmp_path: Path, sampler: str, breaks: set[int]) -> None:
    def drive(folder: Path, interrupted: set[int]) -> list[dict[str, Any]]:
        run = start(folder, sampler=sampler)
        searcher, ledger = searcher_of(run)
        points = []
        for index in range(12):
            config = searcher.suggest(str(index))
            if index in interrupted:  # the process dies with the trial begun, and another takes over
                searcher, ledger = searcher_of(Run(folder))
                config = searcher.suggest(f"{index} again")
            points.append({key: config[key] for key in ("trial", "hyperparameters")})
            finish(searcher, ledger, config)
        return points

    assert drive(tmp_path / "broken", breaks) == drive(tmp_path / "whole", set())


def test_cells_learn_from_their_own_trials_alone(tmp_path: Path) -> None:
    """What one cell's trials find does not move the other cell's suggestions."""
    quiet, noisy = start(tmp_path / "quiet"), start(tmp_path / "noisy")
    found: dict[str, list[Any]] = {}
    for run in (quiet, noisy):
        searcher, ledger = searcher_of(run)
        found[run.folder.name] = []
        for index in range(12):
            config = searcher.suggest(str(index))
            ia3 = config["cell"].endswith("ia3")
            if ia3:
                found[run.folder.name].append(config["hyperparameters"])
            if ia3 or run is noisy:
                finish(searcher, ledger, config)
    assert found["quiet"] == found["noisy"]


def test_the_journal_holds_every_trial_with_its_losses(tmp_path: Path) -> None:
    run = start(tmp_path)
    searcher, ledger = searcher_of(run)
    for index in range(12):
        finish(searcher, ledger, searcher.suggest(str(index)))
    for cell in run.plan.cells:
        study = optuna.load_study(study_name=cell.id, storage=storage(run.optuna_file))
        assert len(study.trials) == 6
        for trial in study.trials:
            row = ledger.ended[cell.trial_name(trial.number)]
            assert trial.state == (TrialState.PRUNED if row.state == State.STOPPED else TrialState.COMPLETE)
            assert sorted(trial.intermediate_values) == [0, 1, 2]
            assert trial.intermediate_values[2] == row.best_loss


def test_the_journal_catches_up_with_the_ledger(tmp_path: Path) -> None:
    """The process died after the ledger was written and before Optuna was told."""
    run = start(tmp_path)
    searcher, ledger = searcher_of(run)
    config = searcher.suggest("0")
    cell = Cell.parse(config["cell"])
    row = {"report": 0, "validation_loss": 1.5, "em@10": 0.0, "em@10_computed": True, "training_seconds": 1.0,
           "evaluation_seconds": 1.0, "peak_memory_mib": 1.0, "trainable_parameters": 1, "parameters": 2}  # fmt: skip
    ledger.record(config["trial"], cell, 0, message(**row), config["hyperparameters"])
    ledger.end(config["trial"], cell, 0, config["hyperparameters"], State.FINISHED)
    searcher_of(Run(tmp_path))
    trial = optuna.load_study(study_name=cell.id, storage=storage(run.optuna_file)).trials[0]
    assert (trial.state, trial.value, trial.intermediate_values) == (TrialState.COMPLETE, 1.5, {0: 1.5})


def test_tpe_searches_better_than_chance(tmp_path: Path) -> None:
    """Late suggestions of the sampler lie nearer to the best learning rate than those of a random search."""

    def distance(sampler: str) -> float:
        run = start(tmp_path / sampler, trials=30, sampler=sampler)
        searcher, ledger = searcher_of(run)
        late = []
        for index in range(60):
            config = searcher.suggest(str(index))
            finish(searcher, ledger, config)
            if config["number"] >= 20 and config["cell"].endswith("ia3"):
                late.append(abs(config["hyperparameters"]["learning_rate"] - 1e-3))
        return sorted(late)[len(late) // 2]

    assert distance("tpe") < distance("random") / 2


def test_what_is_selected_by_is_searched_for(tmp_path: Path) -> None:
    """With `select_by: em@10` the journal holds EM@10 where it was computed, and maximises it."""
    by_loss = start(tmp_path).plan.resolved.dump()
    write_text(Run(tmp_path).study_file, by_loss.replace("select_by: loss", "select_by: em@10"))
    searcher, ledger = searcher_of(Run(tmp_path))
    config = searcher.suggest("0")
    cell = Cell.parse(config["cell"])
    row = {"validation_loss": 1.5, "em@10_computed": True, "training_seconds": 1.0, "evaluation_seconds": 1.0,
           "peak_memory_mib": 1.0, "trainable_parameters": 1, "parameters": 2}  # fmt: skip
    for report, em, computed in ((0, 5.0, True), (1, 5.0, False), (2, 40.0, True)):
        said = message(**{**row, "report": report, "em@10": em, "em@10_computed": computed})
        searcher.observe(ledger.record(config["trial"], cell, 0, said, config["hyperparameters"]))
    searcher.conclude(ledger.end(config["trial"], cell, 0, config["hyperparameters"], State.FINISHED))
    study = optuna.load_study(study_name=cell.id, storage=storage(ledger.run.optuna_file))
    assert study.direction.name == "MAXIMIZE"
    assert (study.trials[0].value, study.trials[0].intermediate_values) == (40.0, {0: 5.0, 2: 40.0})
    write_text(ledger.run.study_file, by_loss)
    assert searcher_of(Run(tmp_path))[0].rebuilt  # a journal of another objective is made again from the reports
