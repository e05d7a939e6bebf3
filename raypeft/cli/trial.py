"""raypeft trial: one trial in full."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from raypeft.cli.arguments import JsonOption, RunArgument, find_run, find_trial
from raypeft.errors import UserError
from raypeft.output.console import LinesTable, echo, echo_json, echo_lines, lines_table, print_lines
from raypeft.output.text import ABSENT, count, hyperparameters, loss, mebibytes, one_line, percent, printable, seconds
from raypeft.report.numbers.samples import Sample, read_samples
from raypeft.report.numbers.trials import Trial, read_trials
from raypeft.runs.checkpoints import sound
from raypeft.runs.folder import Run

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
    reports = list({row["report"]: row for row in found.reports() if row["trial"] == name}.values())
    tests = found.plan.tests(cell) if shown.selected is not None else []
    samples = [sample for dataset in tests for sample in read_samples(found, cell, dataset)[:_SAMPLES]]
    if as_json:
        echo_json(_content(found, shown, reports, samples))
        return
    echo_lines(_lines(found, shown, reports))
    echo("")
    print_lines(_table(reports))
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
        "checkpoints": {one.report["report"]: str(one.path) for one in sound(run.trial_folder(name))},
    }


def _content(run: Run, trial: Trial, reports: list[dict[str, Any]], samples: list[Sample]) -> dict[str, Any]:
    return {
        **asdict(trial),
        "cell": trial.cell.id,
        "curve": reports,
        "files": _files(run, trial.name),
        "samples": [asdict(sample) for sample in samples],
    }


def _lines(run: Run, trial: Trial, reports: list[dict[str, Any]]) -> list[str]:
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
    if measured := {
        row["report"]: row["em@10"] for row in reports if row["em@10_computed"] and row["em@10"] is not None
    }:
        at_best = measured.get(trial.best_report)
        with_loss = "" if at_best is None else f", {percent(at_best)} % with the best loss"
        lines.append(f"EM@10        {percent(max(measured.values()))} % of validation items at its highest{with_loss}")
    if trial.trainable_parameters is not None:
        total = reports[-1].get("parameters") if reports else None
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


def _em(report: dict[str, Any]) -> float | None:
    """EM@10 that was measured for a report, not carried on from one before."""
    em: float | None = report["em@10"] if report["em@10_computed"] else None
    return em


def _table(reports: list[dict[str, Any]]) -> LinesTable:
    names = ("report", "epoch", "step", "validation loss", "EM@10", "training s", "items/s", "MiB")
    table = lines_table(*names, right=names)
    for row in reports:
        speed, spent, memory = (row.get(key) for key in ("items_per_second", "training_seconds", "peak_memory_mib"))
        table.add_row(
            str(row["report"]),
            f"{row['epoch']:.2f}" if "epoch" in row else ABSENT,
            str(row.get("step", ABSENT)),
            ABSENT if row["validation_loss"] is None else loss(row["validation_loss"]),
            percent(em) if (em := _em(row)) is not None else ABSENT,
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
