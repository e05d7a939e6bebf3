"""Mending a run folder before a study goes on in it: damaged files are repaired, or removed and made again."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from raypeft.errors import UserError
from raypeft.output.files import repair_lines
from raypeft.runs.folder import Run, error_file, scores_file
from raypeft.runs.reading import Damaged
from raypeft.runs.records import Outcome

FOLDERS = ("cells", "icl", "trials", "tune", "tensorboard", "report")
SHOWN = 20


def mend(run: Run) -> list[str]:
    """Repair what can be, and remove what is made again from the rest; only the owner of the folder may.

    Checkpoints are looked at when they are needed, Optuna's journal when the search goes on.

    Returns:
        What was wrong, one line each, also written to `events.jsonl`.

    Raises:
        UserError: something else lies in the place of a file, or a search that is to go on has lost its reports.
    """
    _refuse_strangers(run)
    for stale in (run.stop_file, run.dashboard_file):
        stale.unlink(missing_ok=True)
    for leftover in run.folder.rglob(".*.tmp"):
        if leftover.is_file():
            leftover.unlink(missing_ok=True)
    ledgers = ((run.reports_file, run.report_of), (run.trials_file, run.end_of), (run.events_file, run.event_of))
    found = [
        f"{file.name}: {count} damaged {'line' if count == 1 else 'lines'} dropped"
        for file, parse in ledgers
        if (count := repair_lines(file, _checked(parse)))
    ]
    found += _without_damaged(run)
    found += _lost_reports(run)
    for text in found:
        run.note(text)
    return found


def _checked(parse: Callable[[bytes], Any]) -> Callable[[bytes], bool]:
    def is_row(line: bytes) -> bool:
        try:
            parse(line)
        except Damaged:
            return False
        return True

    return is_row


def _refuse_strangers(run: Run) -> None:
    """Refuse a folder in which links, folders or pipes lie where files belong, or files where folders do."""
    files = [run.manifest_file, run.reports_file, run.trials_file, run.events_file, run.optuna_file]
    files += [run.stop_file, run.dashboard_file]
    files += [file for cell in run.plan.cells for file in (run.selection_file(cell), run.taken_file(cell))]
    for _, result, predictions, _ in _results(run):
        files += [result, error_file(result), predictions, scores_file(predictions)]
    wrong = [
        f"{file.relative_to(run.folder)} is {'a link' if file.is_symlink() else 'no file'}"
        for file in files
        if file.is_symlink() or (file.exists() and not file.is_file())
    ]
    places = {place for file in files for place in file.parents if run.folder in place.parents}
    places |= {run.folder / name for name in FOLDERS}
    wrong += [
        f"{place.relative_to(run.folder)} is no folder"
        for place in sorted(places)
        if (place.exists() or place.is_symlink()) and not place.is_dir()
    ]
    if wrong:
        text = "\n".join(f"  {line}" for line in wrong[:SHOWN])
        raise UserError(
            f"something else lies in the place of its files\n{text}",
            where=str(run.folder),
            hint="Put the files themselves there, or start anew with --fresh.",
        )


def _without_damaged(run: Run) -> Iterator[str]:
    """Remove what cannot be read or belongs elsewhere, and say so."""
    made_again = "is damaged, and is made again"
    if _removed(run, run.manifest_file, lambda: run.manifest().written):
        yield f"{run.manifest_file.name} {made_again}: the data cannot be compared with those the run began with"
    for cell in run.plan.cells:
        selection, taken = run.selection_file(cell), run.taken_file(cell)
        if _removed(run, selection, partial(run.selection, cell)):
            yield f"{cell.id}: {selection.name} {made_again}"
        if _removed(run, taken, partial(run.taken, cell)):
            yield f"{cell.id}: {taken.name} is damaged, and removed"
    for name, result, predictions, read in _results(run):
        if _removed(run, result, read) or _removed(run, result, partial(_whole, run, predictions, read)):
            yield f"{name}: {result.name} or its {predictions.name} {made_again}"
        if _removed(run, error_file(result), partial(run.failure, result)):
            yield f"{name}: {error_file(result).name} is damaged, and removed"


def _removed(run: Run, file: Path, read: Callable[[], Any]) -> bool:
    """Remove a file that is there but does not give what it should hold; whether it was."""
    if not file.exists() or read():
        return False
    if (fault := run.reading.faults.get(file)) and not fault.mendable:
        raise UserError(fault.what, where=str(file))
    file.unlink()
    return True


def _whole(run: Run, predictions: Path, read: Callable[[], Outcome | None]) -> bool:
    """Whether a result has its predictions, one for each item."""
    rows, result = run.predictions(predictions), read()
    return result is not None and len(rows) == result.items


def _results(run: Run) -> Iterator[tuple[str, Path, Path, Callable[[], Outcome | None]]]:
    """What was tested, its result file and its predictions, and what reads the result."""
    for cell, dataset in run.plan.test_jobs:
        test, predictions = run.test_file(cell, dataset), run.predictions_file(cell, dataset)
        yield cell.id, test, predictions, partial(run.test, cell, dataset)
    for job in run.plan.icl_jobs:
        yield job.id, run.icl_file(job), run.icl_file(job).with_suffix(".jsonl"), partial(run.icl, job)


def _lost_reports(run: Run) -> list[str]:
    """Ended trials of which not one report is left.

    Raises:
        UserError: there are some, and trials that are to be compared with them have not ended.
    """
    reported, ended = {report.trial for report in run.reports()}, list(run.trials())
    lost = [end.trial for end in ended if end.reports and end.trial not in reported]
    if not lost:
        return []
    listed = ", ".join(lost[:3]) + (", …" if len(lost) > 3 else "")
    what = f"{run.reports_file.name} has lost the reports of {len(lost)} ended trials ({listed})"
    if len(ended) < run.plan.trials:
        raise UserError(
            f"{what}, which the trials that are left are compared with",
            where=str(run.folder),
            hint="Restore it, or start anew with --fresh.",
        )
    return [f"{what}: their curves are lost, what was selected and tested stands"]
