"""The whole of a study: plan, sweep, select, evaluate, report."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from raypeft.errors import UserError
from raypeft.execution import temporary
from raypeft.execution.dashboard import announced
from raypeft.execution.interruption import Interruption
from raypeft.execution.owner import FILES
from raypeft.execution.progress import Progress
from raypeft.hub.fetching import provide
from raypeft.output.console import say
from raypeft.output.files import write_text
from raypeft.report import is_current, write
from raypeft.runs.folder import Run
from raypeft.runs.identity import check_precision
from raypeft.runs.manifest import remarks, versions, write_manifest
from raypeft.runs.offers import doubts, other_versions
from raypeft.runs.recovery import mend
from raypeft.runs.reuse import reuse
from raypeft.runs.selection import select, stands
from raypeft.spec.plan import STAGES, Plan
from raypeft.spec.resolve import ResolvedStudy, adopted, differences

ANEW = "Start anew with --fresh, or keep both with another --out."


def study(
    resolved: ResolvedStudy,
    folder: Path,
    console: Console,
    *,
    interruption: Interruption,
    keep: Callable[[Path], None],
    stages: tuple[str, ...] = STAGES,
    ray_address: str | None = None,
    sources: Sequence[Run] = (),
    any_version: bool = False,
) -> list[str]:
    """Run a study in a folder that this process owns, or go on with it; what is done is not done again.

    Args:
        resolved: the study.
        folder: the run folder.
        console: where progress is shown.
        interruption: handles signals meanwhile.
        keep: is told of a temporary folder that is to be removed should this process die.
        stages: which of `sweep`, `test`, `icl`, `report` to run.
        ray_address: a running cluster to join instead of starting Ray on this machine.
        sources: runs to take finished cells and in-context-learning runs from.
        any_version: also those that were computed with other versions.

    Returns:
        What failed: cells without a usable trial, and jobs, each with where its reason is written.

    Raises:
        UserError: data or models are missing, the GPU cannot be used, or there is no place for temporary files, and
            nothing has been started; or the disk is full.
        KeyboardInterrupt: interrupted; the same call goes on.
    """
    plan, run = Plan(resolved), Run(folder.resolve())
    if not run.study_file.exists():
        write_text(run.study_file, resolved.dump())
    repairs = mend(run)
    if set(stages) != {"report"}:
        temporary.base()  # before anything is fetched
    revisions = provide(resolved.pinned(run.manifest().revisions), console)
    write_manifest(run, revisions, elsewhere=ray_address is not None)
    run = Run(run.folder)  # its plan has the recorded revisions
    with Progress(plan, console) as progress:
        found = run.manifest()
        said = other_versions(found, versions())
        repairs += [f"This run began with {said}"] if said else []
        for line in [
            *repairs,
            *doubts(run),
            *remarks(plan, found.datasets),
            *reuse(run, sources, any_version=any_version),
        ]:
            progress.say(line)
        if pending(run, stages):
            check_precision(run, elsewhere=ray_address is not None)
            from raypeft.execution.cluster import cluster

            with cluster(ray_address, progress, interruption, keep) as url, announced(run, url):
                from raypeft.sweep.sweep import check_gpu, sweep

                check_gpu(run)
                if "sweep" in stages:
                    sweep(run, progress, interruption)
                select(run, progress.say)
                from raypeft.evaluation.jobs import jobs_of
                from raypeft.evaluation.pool import evaluate

                evaluate(run, [job for job in jobs_of(plan, run) if job.kind in stages], progress)
        if "report" in stages:
            if stages != STAGES or not is_current(run):
                write(run)
            progress.say(f"Report: {run.report_folder / 'index.html'}")
            for line in run.faults():
                progress.say(line)
    return failures(run)


def pending(run: Run, stages: tuple[str, ...]) -> bool:
    """Whether anything is left that needs Ray."""
    plan = run.plan
    ended = {end.trial for end in run.trials()}
    trials = [cell.trial_name(number) for cell in plan.cells for number in range(plan.resolved.study.trials)]
    if "sweep" in stages and not ended.issuperset(trials):
        return True
    selections = {cell: run.selection(cell) for cell in plan.cells}
    if "sweep" in stages and not all(one and stands(run, cell, one) for cell, one in selections.items()):
        return True
    untested = any(
        selection and selection.trial and run.test(cell, dataset) is None
        for cell, dataset in plan.test_jobs
        for selection in [selections[cell]]
    )
    return ("test" in stages and untested) or ("icl" in stages and any(run.icl(job) is None for job in plan.icl_jobs))


def failures(run: Run) -> list[str]:
    """Cells that could not be selected and jobs that failed, with the reason's place."""
    failed = [
        f"{cell.id}: {selection.why}"
        for cell in run.plan.cells
        if (selection := run.selection(cell)) and selection.trial is None
    ]
    return failed + [f"see {path}" for path in sorted(run.folder.glob("[ci]*/**/*.error.json"))]


def prepare(folder: Path, resolved: ResolvedStudy, console: Console, *, fresh: bool) -> None:
    """See that a folder that this process owns can take the run of a study, or go on with it.

    Args:
        folder: the run folder.
        resolved: the study.
        console: where it is said what is gone on with.
        fresh: remove what the folder holds.

    Raises:
        UserError: it holds something else, or a run of another version of the study.
    """
    run = Run(folder)
    if fresh and run.study_file.exists():
        _clear(folder)
    if not run.study_file.exists():
        if run.reports_file.exists():
            raise UserError("its study.yaml is gone", where=str(folder), hint=f"Restore it. {ANEW}")
        if any(path.name not in FILES for path in folder.iterdir()):
            raise UserError(
                "is not empty and holds no run", where=str(folder), hint="Choose another folder with --out."
            )
        return
    if not run.begun:
        # It was refused for its data, models, techniques or the GPU, or interrupted at once.
        for file in (run.manifest_file, run.optuna_file, run.study_file):
            file.unlink(missing_ok=True)
        return
    try:
        frozen = ResolvedStudy.load(run.study_file)
    except UserError as error:
        raise UserError(f"its study cannot be read\n{error}", where=str(folder), hint=ANEW) from error
    if changes := differences(frozen, resolved):
        raise UserError(
            "holds a run of another version of this study:\n" + "\n".join(f"  {change}" for change in changes),
            where=str(folder),
            hint=ANEW,
        )
    if news := adopted(frozen, resolved):
        write_text(run.study_file, resolved.dump())
        for line in news:
            run.note(line)
            say(console, line)
    say(console, f"Going on with the run in {folder}")


def _clear(folder: Path) -> None:
    """Remove all that a run folder holds; who owns it, goes on owning it. The study goes last."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name == "study.yaml"):
        if path.name in FILES:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
