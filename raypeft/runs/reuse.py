"""Finished cells and in-context-learning runs of other runs, taken over instead of computed again."""

import os
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from raypeft.errors import UserError
from raypeft.output.files import append_lines, write_json
from raypeft.runs.folder import Run
from raypeft.runs.offers import Offer, offer_of, open_work, other_versions
from raypeft.runs.records import OfTrial, Report, Taken, TrialEnd
from raypeft.spec.plan import Cell, IclJob

R = TypeVar("R", bound=OfTrial)


def siblings(folder: Path, study: str) -> list[Run]:
    """Runs beside a run folder, of other studies: a second run of the same study is meant to be one."""
    return [run for run in _runs(folder.resolve().parent) if run.plan.resolved.name != study]


def runs_in(folder: Path) -> list[Run]:
    """The run in a folder, or the runs directly below it.

    Raises:
        UserError: there is none.
    """
    own = [Run(folder.resolve())] if (folder / "study.yaml").is_file() else []
    if found := [run for run in own if _readable(run)] or list(_runs(folder)):
        return found
    raise UserError(f"{folder} holds no run that can be read", where="--reuse")


def reuse(run: Run, sources: Iterable[Run], *, any_version: bool = False) -> list[str]:
    """Take over what the sources have finished of this run's plan, and say so.

    A cell is taken with its trials, reports, selection, weights and tests, when nothing of it has begun here, its
    identity is the same, and no trial of it ended in a way that another machine may be spared (out of memory, error).
    Taking is the renaming of one folder, which holds all that is taken; a ledger left incomplete by an interruption is
    completed from there.

    Args:
        run: the run, its manifest written.
        sources: runs to look in, the first that has something gives it.
        any_version: whether what was computed with other versions counts as the same.

    Returns:
        A line for each source that something was taken from, and one where it has other versions of what computes.
    """
    _complete_ledger(run)
    plan, manifest = run.plan, run.manifest()
    cells, jobs = open_work(run, plan)
    said = []
    for source in sources:
        offer = offer_of(plan, manifest, cells, jobs, source, any_version=any_version)
        if offer.versions:
            said += [offer.refusal] if offer.cells or offer.jobs else []
            continue
        reports = _by_cell(source.reports() if offer.cells else ())
        ends = _by_cell(source.trials() if offer.cells else ())
        taken = Offer(
            source.folder,
            [cell for cell in offer.cells if _take_cell(run, source, cell, reports[cell.id], ends[cell.id])],
            [job for job in offer.jobs if _take_job(run, source, job)],
        )
        cells, jobs = taken.without(cells, jobs)
        if taken.cells or taken.jobs:
            said.append(f"Taken over from {source.folder}: {taken.text(names=True)}")
            if others := other_versions(source.manifest(), manifest.versions):
                said.append(f"  It was computed with {others}")
    _complete_ledger(run)
    return said


def _runs(folder: Path) -> Iterator[Run]:
    for file in sorted(folder.glob("*/study.yaml")):
        if _readable(run := Run(file.parent.resolve())):
            yield run


def _readable(run: Run) -> bool:
    """Whether this version of the package understands the run; one that it does not has nothing to take."""
    try:
        return bool(run.plan) and run.manifest().written
    except (UserError, ValueError):
        return False


def _by_cell(records: Iterable[R]) -> dict[str, list[R]]:
    found: dict[str, list[R]] = defaultdict(list)
    for record in records:
        found[record.cell].append(record)
    return found


def _take_cell(run: Run, source: Run, cell: Cell, reports: list[Report], ends: list[TrialEnd]) -> bool:
    """Take a cell over; false where the source was removed meanwhile."""
    staging, origin, target = run.folder / ".taking", source.cell_folder(cell), run.cell_folder(cell)
    shutil.rmtree(staging, ignore_errors=True)
    try:
        for file in sorted(origin.rglob("*")):
            if file.is_file() and not file.name.startswith(".") and not file.name.endswith(".error.json"):
                _link(file, staging / file.relative_to(origin))
    except FileNotFoundError:
        shutil.rmtree(staging, ignore_errors=True)
        return False
    if (selection := source.selection(cell)) is None:
        return False
    taken = Taken(origin=selection.origin or str(source.folder), reports=reports, trials=ends)
    # They stay of the version that they were written in.
    write_json(staging / "selection.json", {"origin": taken.origin, **selection.content()})
    write_json(staging / "taken.json", taken.content())
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    staging.rename(target)
    return True


def _take_job(run: Run, source: Run, job: IclJob) -> bool:
    target, origin = run.icl_file(job), source.icl_file(job)
    try:
        target.with_suffix(".jsonl").unlink(missing_ok=True)
        _link(origin.with_suffix(".jsonl"), target.with_suffix(".jsonl"))
    except FileNotFoundError:
        return False
    if (result := source.icl(job)) is None:
        return False
    write_json(target, {"origin": str(source.folder), **result.content()})
    return True


def _link(source: Path, target: Path) -> None:
    """The same file in a second place, a copy where file systems differ: files of a run are replaced, never changed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copy2(source, target)


def _complete_ledger(run: Run) -> None:
    """Append the reports and trials of taken cells that the ledger does not hold yet."""
    taken = [content for cell in run.plan.cells if (content := run.taken(cell))]
    if not taken:
        return
    reported = {(report.trial, report.report) for report in run.reports()}
    ended = {end.trial for end in run.trials()}
    reports = [one for cell in taken for one in cell.reports if (one.trial, one.report) not in reported]
    ends = [one for cell in taken for one in cell.trials if one.trial not in ended]
    append_lines(run.reports_file, (one.content() for one in reports))
    append_lines(run.trials_file, (one.content() for one in ends))
