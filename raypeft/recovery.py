"""Mending a run folder before a study goes on in it: damaged files are repaired, or removed and made again."""

from collections.abc import Iterator
from pathlib import Path

from raypeft.files import read_json, repair_lines
from raypeft.run import Run


def mend(run: Run) -> list[str]:
    """Repair what can be, and remove what is made again from the rest; only the owner of the folder may.

    Checkpoints are looked at when they are needed, Optuna's journal when the search goes on.

    Returns:
        What was wrong, one line each, also written to `events.jsonl`.
    """
    for stale in (run.stop_file, run.dashboard_file):
        stale.unlink(missing_ok=True)
    for leftover in run.folder.rglob(".*.tmp"):
        leftover.unlink(missing_ok=True)
    found = [
        f"{file.name}: {count} damaged {'line' if count == 1 else 'lines'} dropped"
        for file in (run.reports_file, run.trials_file, run.events_file)
        if (count := repair_lines(file))
    ]
    found += _without_damaged(run)
    for text in found:
        run.note(text)
    return found


def _without_damaged(run: Run) -> Iterator[str]:
    """Remove results that cannot be read, and say so."""
    made_again = "is damaged, and is made again"
    if _damaged(run.manifest_file):
        run.manifest_file.unlink()
        yield f"{run.manifest_file.name} {made_again}: the data cannot be compared with those the run began with"
    for cell in run.plan.cells:
        selection = run.cell_folder(cell) / "selection.json"
        if _damaged(selection):
            selection.unlink()
            yield f"{cell.id}: {selection.name} {made_again}"
    for name, result, predictions in _results(run):
        content = read_json(result)
        if _damaged(result) or (content and not _complete(predictions, content["metrics"]["items"])):
            result.unlink()
            yield f"{name}: {result.name} or its {predictions.name} {made_again}"


def _results(run: Run) -> Iterator[tuple[str, Path, Path]]:
    """What was tested, its result file and its predictions."""
    for cell, dataset in run.plan.test_jobs:
        yield cell.id, run.test_file(cell, dataset), run.predictions_file(cell, dataset)
    for job in run.plan.icl_jobs:
        yield job.id, run.icl_file(job), run.icl_file(job).with_suffix(".jsonl")


def _damaged(file: Path) -> bool:
    return file.exists() and not isinstance(read_json(file), dict)


def _complete(predictions: Path, items: int) -> bool:
    return predictions.exists() and predictions.read_bytes().count(b"\n") == items
