"""raypeft status: how far a run has come."""

import time
from typing import Any

from rich.text import Text

from raypeft.cli.arguments import JsonOption, RunArgument, find_run
from raypeft.output.console import LinesTable, echo_json, echo_lines, lines_table, print_lines
from raypeft.output.text import ABSENT, counts, duration, loss, one_line, percent
from raypeft.report.numbers.cells import CellRow
from raypeft.report.numbers.gather import Numbers, gather
from raypeft.report.numbers.progress import Standing, standing


def status(run: RunArgument, as_json: JsonOption = False) -> None:
    """Show the progress of cells, trials and jobs, also while the run goes on."""
    numbers = gather(find_run(run))
    now = standing(numbers)
    if as_json:
        echo_json(_content(numbers, now))
        return
    print_lines(_table(numbers))
    echo_lines(_lines(numbers, now))


def _content(numbers: Numbers, now: Standing) -> dict[str, Any]:
    return {
        "study": numbers.run.plan.resolved.name,
        "folder": str(numbers.run.folder),
        "cells": {"planned": len(numbers.states), **now.cells},
        "trials": {"planned": numbers.run.plan.trials, **now.trials},
        "icl": {"planned": len(numbers.run.plan.icl_jobs), "done": now.icl_done, "failed": now.icl_failed},
        "last_record": numbers.last_record,
        "sweep_seconds_left": now.seconds_left,
        "estimate": now.estimate,
        "by_cell": [_cell(numbers, row) for row in numbers.cells],
    }


def _cell(numbers: Numbers, row: CellRow) -> dict[str, Any]:
    losses = [trial.best_loss for trial in numbers.trials_of(row.cell) if trial.best_loss is not None]
    return {
        "cell": row.cell.id,
        "test_set": row.test_set,
        "state": row.state,
        "note": row.note,
        "trials": dict(row.trials),
        "best_loss": min(losses, default=None),
        numbers.metric: row.metrics.get(numbers.metric),
    }


def _table(numbers: Numbers) -> LinesTable:
    test = f"test EM@{numbers.k}"
    table = lines_table("cell", "state", "best loss", test, "trials", "note", right=("best loss", test))
    for row in numbers.cells:
        cell = _cell(numbers, row)
        value, best = cell[numbers.metric], cell["best_loss"]
        table.add_row(
            Text(row.name),
            row.state,
            ABSENT if best is None else loss(best),
            ABSENT if value is None else percent(value),
            counts(row.trials) or ABSENT,
            Text(one_line(row.note or "")),
        )
    return table


def _lines(numbers: Numbers, now: Standing) -> list[str]:
    plan = numbers.run.plan
    failed = f", {now.icl_failed} failed" if now.icl_failed else ""
    pace = "" if now.seconds_left is None else f"about {duration(now.seconds_left)} of the sweep, "
    lines = [
        "",
        f"Cells   {now.cells.get('tested', 0)} of {len(numbers.states)} tested ({counts(now.cells)})",
        f"Trials  {now.trials_ended} of {plan.trials} ended ({counts(now.trials) or 'none has begun'})",
        f"ICL     {now.icl_done} of {len(plan.icl_jobs)} runs done{failed}",
        f"Left    {pace}{now.estimate}",
    ]
    if numbers.last_record is not None:
        lines.append(f"News    the sweep's last record is {duration(max(0.0, time.time() - numbers.last_record))} old")
    return lines
