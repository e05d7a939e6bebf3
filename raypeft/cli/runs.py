"""raypeft status, trials and trial: looking at a run."""

import time
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.text import Text

from raypeft.cli.arguments import JsonOption, RunArgument, find_run, find_trial
from raypeft.errors import UserError
from raypeft.output.console import LinesTable, echo, echo_json, echo_lines, lines_table, print_lines
from raypeft.output.text import (
    ABSENT,
    count,
    counts,
    duration,
    hyperparameters,
    loss,
    mebibytes,
    one_line,
    percent,
    printable,
    seconds,
)
from raypeft.report.numbers.cells import CellRow
from raypeft.report.numbers.gather import Numbers, gather
from raypeft.report.numbers.progress import Standing, standing
from raypeft.report.numbers.samples import Sample, read_samples
from raypeft.report.numbers.trials import Trial, read_trials
from raypeft.runs.checkpoints import with_weights
from raypeft.runs.folder import Run
from raypeft.runs.records import Report


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


def trials(run: RunArgument, as_json: JsonOption = False) -> None:
    """List the trials that have begun: hyperparameters, best loss, EM@10, state and reason it ended."""
    found = find_run(run)
    rows = read_trials(found)
    if as_json:
        echo_json([{**asdict(trial), "cell": trial.cell.id} for trial in rows])
        return
    table = lines_table(
        "trial",
        "reports",
        "best loss",
        "EM@10",
        "state",
        "hyperparameters",
        "reason",
        right=("reports", "best loss", "EM@10"),
    )
    for trial in rows:
        table.add_row(
            Text(trial.name),
            str(trial.reports),
            ABSENT if trial.best_loss is None else loss(trial.best_loss),
            ABSENT if trial.best_em is None else percent(trial.best_em),
            f"{trial.state}, selected" if trial.selected is not None else trial.state,
            Text(one_line(hyperparameters(trial.hyperparameters)) or ABSENT),
            Text(one_line(trial.reason or "")),
        )
    print_lines(table)
    if waiting := found.plan.trials - len(rows):
        echo(f"{waiting} of {found.plan.trials} trials have not begun.")


_BARS = "▁▂▃▄▅▆▇█"
_SAMPLES = 3


def trial(
    run: RunArgument,
    trial_id: Annotated[
        str, typer.Argument(metavar="TRIAL", help="its name, or CELL/NUMBER: lora/3 where that is one cell")
    ],
    as_json: JsonOption = False,
) -> None:
    """Show one trial: curve, hyperparameters, memory, files, and sample predictions where it was selected."""
    found = find_run(run)
    cell, number = find_trial(found, trial_id)
    name = cell.trial_name(number)
    shown = next((trial for trial in read_trials(found) if trial.name == name), None)
    if shown is None:
        raise UserError(f"{name} has not begun", hint=f"raypeft status {run} tells how far the run has come.")
    reports = list({report.report: report for report in found.reports() if report.trial == name}.values())
    tests = found.plan.tests(cell) if shown.selected is not None else []
    samples = [sample for dataset in tests for sample in read_samples(found, cell, dataset)[:_SAMPLES]]
    if as_json:
        echo_json(_content_of_trial(found, shown, reports, samples))
        return
    echo_lines(_lines_of_trial(found, shown, reports))
    echo("")
    print_lines(_table_of_trial(reports))
    for sample in samples:
        echo("\n" + "\n".join(_sample(sample)))
    if shown.error:
        echo("\n" + printable(shown.error))


def sparkline(values: list[float]) -> str:
    """One character a value, from the lowest to the highest of them."""
    low, high = min(values), max(values)
    steps = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((value - low) * steps)] for value in values)


def _files(run: Run, name: str) -> dict[str, Any]:
    folders = {"log": run.trial_log(name), "tensorboard": run.tensorboard_folder / name}
    return {
        **{kind: str(path) for kind, path in folders.items() if path.exists()},
        "checkpoints": {one.order[0]: str(one.path) for one in with_weights(run.trial_folder(name))},
    }


def _content_of_trial(run: Run, trial: Trial, reports: list[Report], samples: list[Sample]) -> dict[str, Any]:
    return {
        **asdict(trial),
        "cell": trial.cell.id,
        "curve": [report.content() for report in reports],
        "files": _files(run, trial.name),
        "samples": [asdict(sample) for sample in samples],
    }


def _lines_of_trial(run: Run, trial: Trial, reports: list[Report]) -> list[str]:
    name = run.plan.resolved.point_name(trial.cell.technique, trial.hyperparameters)
    marks = [name] if name else []
    if trial.selected is not None:
        marks.append(f"selected for its cell with the checkpoint of report {trial.selected}")
    files = _files(run, trial.name)
    lines = [
        f"Trial        {trial.name}" + (f" ({'; '.join(marks)})" if marks else ""),
        f"State        {trial.state}" + (f": {one_line(trial.reason)}" if trial.reason else ""),
        f"Parameters   {one_line(hyperparameters(trial.hyperparameters)) or ABSENT}",
    ]
    if losses := [point.loss for point in trial.curve]:
        first, last, best = loss(losses[0]), loss(losses[-1]), loss(min(losses))
        lines.append(f"Loss         {sparkline(losses)} {first} to {last}, best {best} at report {trial.best_report}")
    if measured := {report.report: em for report in reports if (em := _em(report)) is not None}:
        at_best = None if trial.best_report is None else measured.get(trial.best_report)
        with_loss = "" if at_best is None else f", {percent(at_best)} % with the best loss"
        lines.append(f"EM@10        {percent(max(measured.values()))} % of validation items at its highest{with_loss}")
    if trial.trainable_parameters is not None:
        total = reports[-1].parameters if reports else None
        share = f" of {count(total)} ({100 * trial.trainable_parameters / total:.3g} %)" if total else ""
        lines.append(f"Trainable    {count(trial.trainable_parameters)} weights{share}")
    if trial.peak_memory_mib is not None:
        lines.append(f"Memory       {mebibytes(trial.peak_memory_mib)} MiB at its peak")
    if trial.training_seconds is not None and trial.evaluation_seconds is not None:
        spent = f"{seconds(trial.training_seconds)} s training, {seconds(trial.evaluation_seconds)} s evaluation"
        lines.append(f"Time         {spent}")
    lines += [f"{kind.capitalize():<12} {files[kind]}" for kind in ("log", "tensorboard") if kind in files]
    lines += [f"Checkpoint   {path} (report {report})" for report, path in files["checkpoints"].items()]
    return lines


def _em(report: Report) -> float | None:
    """EM@10 that was measured for a report, not carried on from one before."""
    return report.em10 if report.em10_computed else None


def _table_of_trial(reports: list[Report]) -> LinesTable:
    names = ("report", "epoch", "step", "validation loss", "EM@10", "training s", "items/s", "MiB")
    table = lines_table(*names, right=names)
    for report in reports:
        speed, spent, memory = report.items_per_second, report.training_seconds, report.peak_memory_mib
        table.add_row(
            str(report.report),
            ABSENT if report.epoch is None else f"{report.epoch:.2f}",
            ABSENT if report.step is None else str(report.step),
            ABSENT if report.validation_loss is None else loss(report.validation_loss),
            percent(em) if (em := _em(report)) is not None else ABSENT,
            ABSENT if spent is None else seconds(spent),
            ABSENT if speed is None else f"{speed:.1f}",
            ABSENT if memory is None else mebibytes(memory),
        )
    return table


def _sample(sample: Sample) -> list[str]:
    lines = [f"Test item {sample.id}: {one_line(sample.intent)}"]
    found = "no candidate matches it" if sample.rank is None else f"candidate {sample.rank} matches it"
    texts = {f"reference ({found})": sample.reference} | (
        {"candidate 1": sample.candidates[0]} if sample.candidates else {}
    )
    for label, text in texts.items():
        lines += [f"  {label}", *(f"    {line}" for line in printable(text).splitlines())]
    return lines
