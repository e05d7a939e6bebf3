"""Early stopping stays inside a cell, and its rungs can be rebuilt from the recorded reports."""

import random
from collections import defaultdict
from types import SimpleNamespace

import pytest
from ray.tune.schedulers import ASHAScheduler

from raypeft.runs.records import Message, Report, State
from raypeft.spec.plan import Plan
from raypeft.spec.resolve import resolve
from raypeft.sweep.scheduler import CellScheduler

CELLS = ("a/data/lora", "a/data/ia3", "b/data/lora")


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan(resolve("quickstart", settings=["early_stopping.grace=5", "training.epochs=5"]))


def said(cell: str, trial: str, number: int, loss: float) -> Report:
    return Report(trial=trial, cell=cell, number=0, report=number, validation_loss=loss)


def stream(seed: int, trials: int = 8) -> list[Report]:
    """Reports of all trials of all cells, interleaved at random; cell `b` has losses a hundred times larger."""
    source = random.Random(seed)
    waiting = {(cell, number): 0 for cell in CELLS for number in range(trials)}
    quality = {key: source.uniform(0.5, 2.0) for key in waiting}
    rows = []
    while waiting:
        cell, number = source.choice(sorted(waiting))
        report = waiting[(cell, number)]
        loss = quality[(cell, number)] * (1 + 1 / (1 + report)) * (100 if cell.startswith("b") else 1)
        rows.append(said(cell, f"{cell}·{number}", report, loss))
        waiting[(cell, number)] = report + 1
        if report == 25:
            del waiting[(cell, number)]
    return rows


def decide(scheduler: CellScheduler, rows: list[Report], stopped: set[str]) -> list[tuple[str, int, str]]:
    """Feed reports as Ray would: a stopped trial gives none any more."""
    decisions = []
    for row in rows:
        if row.trial in stopped:
            continue
        decision = scheduler.decide(row.cell, row.trial, row)
        decisions.append((row.trial, row.report, decision))
        if decision == "STOP":
            stopped.add(row.trial)
    return decisions


@pytest.mark.parametrize("seed", range(5))
def test_each_cell_is_an_asha_of_its_own(plan: Plan, seed: int) -> None:
    """Against Ray's scheduler run on one cell's reports alone."""
    rows = stream(seed)
    decisions = decide(CellScheduler(plan), rows, set())
    found = defaultdict(list)
    for trial, report, decision in decisions:
        found[trial.rsplit("·", 1)[0]].append((trial, report, decision))
    for cell in CELLS:
        asha = ASHAScheduler(
            time_attr="report", metric="validation_loss", mode="min", max_t=25, grace_period=5, reduction_factor=3
        )
        expected, over, known = [], set(), set()
        for row in rows:
            if row.cell != cell or row.trial in over:
                continue
            trial = SimpleNamespace(trial_id=row.trial)
            if row.trial not in known:
                known.add(row.trial)
                asha.on_trial_add(None, trial)
            decision = asha.on_trial_result(None, trial, row.content())
            expected.append((row.trial, row.report, decision))
            if decision == "STOP":
                over.add(row.trial)
        assert found[cell] == expected
    stops = [report for _, report, decision in decisions if decision == "STOP"]
    assert {5, 15}.issuperset(set(stops) - {25}) and 5 in stops


@pytest.mark.parametrize("cut", [1, 40, 150, 300])
def test_replayed_rungs_decide_as_if_undisturbed(plan: Plan, cut: int) -> None:
    rows = stream(11)
    whole = decide(CellScheduler(plan), rows, set())
    before, first = CellScheduler(plan), set()
    recorded = rows[:cut]
    head = decide(before, recorded, first)
    after = CellScheduler(plan)
    after.replay(row for row in recorded if (row.trial, row.report) in {(t, r) for t, r, _ in head})
    assert set(after.stopped) == {trial for trial in first if trial in before.stopped}
    assert head + decide(after, rows[cut:], set(first)) == whole


def test_a_report_given_again_changes_nothing(plan: Plan) -> None:
    scheduler = CellScheduler(plan)
    for trial, loss in (("x", 1.0), ("y", 2.0), ("z", 3.0)):
        row = said("c", trial, 5, loss)
        first = scheduler.decide("c", trial, row)
        assert scheduler.decide("c", trial, row) == first
    assert set(scheduler.stopped) == {"y", "z"}
    assert "ASHA at report 5" in scheduler.stopped["z"]


def test_an_end_stops_without_touching_the_rungs(plan: Plan) -> None:
    scheduler = CellScheduler(plan)
    assert scheduler.decide("c", "x", Message(report=5, validation_loss=None, end=State.NAN)) == "STOP"
    assert scheduler.decide("c", "y", Message(report=5, validation_loss=9.0)) == "CONTINUE"
    assert scheduler.stopped == {}


def test_without_early_stopping_nothing_is_stopped() -> None:
    scheduler = CellScheduler(Plan(resolve("quickstart", settings=["early_stopping=null", "training.epochs=5"])))
    assert {decision for _, _, decision in decide(scheduler, stream(3), set())} == {"CONTINUE"}


def test_trials_are_stopped_by_what_is_selected_by() -> None:
    """With `select_by: em@10` the trial of the lower EM@10 stops, though its loss is the lower one."""
    by_em = Plan(resolve("quickstart", settings=["early_stopping.grace=1", "validation.select_by=em@10"]))
    scheduler = CellScheduler(by_em)
    for number, em in enumerate((40.0, 30.0, 20.0, 10.0)):
        row = Message(report=1, validation_loss=1.0 - number / 10, em10=em, em10_computed=True)
        decision = scheduler.decide("a/data/lora", str(number), row)
        assert decision == ("CONTINUE" if number == 0 else "STOP")
    assert scheduler.stopped["3"] == "ASHA at report 1: validation EM@10 10.00 % was not among the best of its cell"
