"""What a run shows, in a terminal and elsewhere."""

import io
import threading
from typing import Any

import pytest
from rich.console import Console

from raypeft.execution import progress as module
from raypeft.execution.progress import Progress
from raypeft.output.console import Clock
from raypeft.output.text import duration
from raypeft.runs.records import Report, State, TrialEnd
from raypeft.spec.plan import Plan

ENDED = TrialEnd(
    trial="tiny-decoder·lora·snippets·000",
    cell="tiny-decoder/snippets/lora",
    number=0,
    state=State.STOPPED,
    reason="ASHA at report 2",
    reports=3,
    best_loss=1.23456,
    best_em10=12.5,
)


def ended(**changes: Any) -> TrialEnd:
    return ENDED.model_copy(update=changes)


def report(trial: str, cell: str, number: int, loss: float) -> Report:
    return Report(trial=trial, cell=cell, number=0, report=number, validation_loss=loss, em10=0.0)


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.6, "5s"), (59.7, "1m 00s"), (184, "3m 04s"), (3600, "1h 00m"), (93784, "26h 03m")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_eta_comes_from_the_pace_of_this_execution(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    clock = Clock(total=12, done=2)  # two were done before
    assert str(clock) == "2/12 0s"
    now = 160.0
    clock.step()
    clock.step()
    # two in sixty seconds, eight left
    assert str(clock) == "4/12 1m 00s, about 4m 00s left"
    clock.partial = 1.0
    # three in sixty seconds, seven left
    assert str(clock) == "4/12 1m 00s, about 2m 20s left"


def test_plain_lines_where_there_is_no_terminal(small_plan: Plan) -> None:
    stream = io.StringIO()
    with Progress(small_plan, Console(file=stream, width=200)) as progress:
        progress.sweep_begins([ENDED])
        progress.trial_begins("tiny-decoder·ia3·snippets·000")
        name, cell = "tiny-decoder·ia3·snippets·000", "tiny-decoder/snippets/ia3"
        progress.trial_ended(ended(trial=name, cell=cell, state=State.FINISHED))
        failed = {"state": State.ERROR, "reason": "ValueError: no", "best_loss": None, "best_em10": None, "reports": 0}
        progress.trial_ended(ended(trial="x", **failed))
        progress.jobs_begin(5, 1)
        progress.job_ended("icl tiny-decoder/snippets/0-shot-seed-42", "EM@1 0.0, EM@10 10.0")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "Sweep: 10 cells, 30 trials, 1 of them done before"
    assert "tiny-decoder·ia3·snippets·000: finished after 2 reports, best loss 1.2346, EM@10 12.5" in lines
    assert "x: error (ValueError: no) after 0 reports, no loss" in lines
    assert "Evaluation: 5 jobs, 1 of them done before" in lines
    assert lines[-1] == "[2/5] icl tiny-decoder/snippets/0-shot-seed-42: EM@1 0.0, EM@10 10.0"


def test_a_table_in_a_terminal(small_plan: Plan) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=120, height=40, force_terminal=True)
    with Progress(small_plan, console) as progress:
        progress.sweep_begins([ENDED])
        progress.reported(report("tiny-decoder·ia3·snippets·000", "tiny-decoder/snippets/ia3", 2, 2.5))
    frame = stream.getvalue()
    row = next(line for line in reversed(frame.splitlines()) if "tiny-decoder/snippets/lora" in line)
    assert [cell.strip() for cell in row.split("│")[1:-1]] == [
        "tiny-decoder/snippets/lora", "·", "1/3", "1", "0", "1.2346", "12.5",
    ]  # fmt: skip
    row = next(line for line in reversed(frame.splitlines()) if "tiny-decoder/snippets/ia3" in line)
    assert [cell.strip() for cell in row.split("│")[1:-1]] == [
        "tiny-decoder/snippets/ia3", "1", "0/3", "0", "0", "2.5000", "0.0",
    ]  # fmt: skip


def test_the_live_table_is_drawn_while_trials_begin_and_end(small_plan: Plan) -> None:
    progress = Progress(small_plan, Console(file=io.StringIO(), force_terminal=True, width=200))
    over, faults = threading.Event(), []

    def draw() -> None:
        while not over.is_set():
            try:
                progress._table()
            except RuntimeError as error:
                faults.append(error)

    drawing = threading.Thread(target=draw)
    drawing.start()
    cells, states = small_plan.cells, [state for state in State if state not in (State.PAUSED, State.RUNNING)]
    for number in range(400):
        for cell in cells:
            progress.trial_begins(cell.trial_name(number))
            progress.reported(report(cell.trial_name(number), cell.id, 1, 1.0))
        for cell in cells:
            state = states[number % len(states)]
            progress.trial_ended(ended(trial=cell.trial_name(number), cell=cell.id, state=state))
    over.set()
    drawing.join()
    assert faults == []
