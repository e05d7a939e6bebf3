"""raypeft study: run a study, or go on with it."""

import functools
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from raypeft.cli.arguments import usable
from raypeft.cli.plan import show_plan
from raypeft.errors import UserError
from raypeft.execution import disk, temporary
from raypeft.execution.guards import check_versions
from raypeft.execution.interruption import CODE as INTERRUPTED
from raypeft.execution.interruption import Interruption
from raypeft.execution.owner import FILES as OWNER_FILES
from raypeft.execution.owner import Ownership
from raypeft.output.console import say, terminal
from raypeft.output.files import write_text
from raypeft.runs.folder import Run
from raypeft.runs.reuse import runs_in, siblings
from raypeft.spec.loading import find, together
from raypeft.spec.plan import Plan
from raypeft.spec.resolve import ResolvedStudy, adopted, differences, missing_folders, resolve
from raypeft.spec.values import quoted

FAILED = 3
ANEW = "Start anew with --fresh, or keep both with another --out."


def study(
    name: Annotated[str, typer.Argument(metavar="NAME|FILE", help="a shipped study, one in ./studies, or a file")],
    plan: Annotated[bool, typer.Option("--plan", help="print what would be done, and do nothing")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="remove what the run folder holds and start anew")] = False,
    model: Annotated[list[str] | None, typer.Option(help="only this model; may be repeated")] = None,
    dataset: Annotated[list[str] | None, typer.Option(help="only this data set; may be repeated")] = None,
    technique: Annotated[list[str] | None, typer.Option(help="only this technique; may be repeated")] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="trials a cell")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="any key of the study")] = None,
    scale: Annotated[str | None, typer.Option(help="tiny: on embedded models and data, in runs/<study>-tiny")] = None,
    out: Annotated[Path | None, typer.Option(help="run folder (default runs/<study>)")] = None,
    reuse: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="take finished cells from this run, or the runs in it; may be repeated"),
    ] = None,
    no_reuse: Annotated[bool, typer.Option("--no-reuse", help="take nothing from the runs beside this one")] = False,
    ray_address: Annotated[str | None, typer.Option(help="join this Ray cluster")] = None,
    stage: Annotated[list[str] | None, typer.Option(help="only sweep, test, icl or report; may be repeated")] = None,
) -> None:
    """Run a study, or go on with it where it was interrupted.

    Exit codes: 0 done, 2 a mistake in what was asked, 3 done with failed cells or jobs, 130 interrupted.
    """
    resolved = resolve(
        name,
        models=model or (),
        datasets=dataset or (),
        techniques=technique or (),
        trials=samples,
        settings=set_ or (),
        scale=scale,
    )
    folder = usable(out or Path("runs") / resolved.name, "--out")
    sources = [run for place in reuse or () for run in runs_in(usable(place, "--reuse"))]
    if not no_reuse:
        sources += siblings(folder, resolved.name)
    if plan:
        show_plan(Plan(resolved), folder, sources, fresh=fresh)
        return
    check_places(resolved, str(find(name, "studies")))
    check_versions()
    stages, console = _stages(stage), terminal()
    with owned(folder, console) as (interruption, ownership):
        _prepare(folder, resolved, console, fresh=fresh)
        code = _run(resolved, folder, console, stages, ray_address, sources, interruption, ownership.keep)
    if interruption.abrupt:
        sys.stdout.flush()
        os._exit(code)
    raise typer.Exit(code)


def check_places(resolved: ResolvedStudy, where: str) -> None:
    """Refuse a study whose folders are not there, with what cannot be had of the hub.

    Args:
        resolved: the study.
        where: its file.

    Raises:
        UserError: folders are missing.
    """
    if (missing := missing_folders(resolved, where)) is None:
        return
    from raypeft.hub.study import needs, refusal, survey, ways_on

    failed = survey(needs(resolved)).failed
    unavailable = [refusal("not all can be had of the hub", failed, ways_on())] if failed else []
    raise together([missing, *unavailable], "several things are missing")


def _stages(stage: list[str] | None) -> tuple[str, ...]:
    from raypeft.pipeline import STAGES

    if unknown := set(stage or ()) - set(STAGES):
        raise UserError(
            f"unknown stage {quoted(sorted(unknown)[0])}", where="--stage", hint=f"Stages: {', '.join(STAGES)}"
        )
    return tuple(stage) if stage else STAGES


def _prepare(folder: Path, resolved: ResolvedStudy, console: Console, *, fresh: bool) -> None:
    run = Run(folder)
    if fresh and run.study_file.exists():
        _clear(folder)
    if not run.study_file.exists():
        if run.reports_file.exists():
            raise UserError("its study.yaml is gone", where=str(folder), hint=f"Restore it. {ANEW}")
        if any(path.name not in OWNER_FILES for path in folder.iterdir()):
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
        if path.name in OWNER_FILES:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


@contextmanager
def owned(folder: Path, console: Console) -> Iterator[tuple[Interruption, Ownership]]:
    """The run folder to oneself, what a dead owner left behind removed, and signals handled."""

    def clean() -> None:
        if ownership.owner.temporary:
            temporary.remove(Path(ownership.owner.temporary))
        ownership.release()

    interruption = Interruption(functools.partial(say, console), clean)

    def lost() -> None:
        interruption.end_at_once("Another process has taken over this run folder. ")

    ownership = Ownership(folder, lost)
    with ownership, interruption:
        if before := ownership.before:
            say(console, f"Taking over from {before}, which is gone.")
            if before.temporary and before.host == ownership.owner.host:
                temporary.remove(Path(before.temporary))
        yield interruption, ownership


def _run(
    resolved: ResolvedStudy,
    folder: Path,
    console: Console,
    stages: tuple[str, ...],
    ray_address: str | None,
    sources: Sequence[Run],
    interruption: Interruption,
    keep: Callable[[Path], None],
) -> int:
    from raypeft import pipeline

    try:
        failed = pipeline.study(
            resolved,
            folder,
            console,
            interruption=interruption,
            keep=keep,
            stages=stages,
            ray_address=ray_address,
            sources=sources,
        )
    except KeyboardInterrupt:
        say(console, "Interrupted. The same command goes on from here.")
        return INTERRUPTED
    except OSError as error:
        if disk.is_full(error):
            raise disk.full(folder, str(error)) from error
        raise
    if failed:
        say(console, "Done, but not everything succeeded:")
        for line in failed:
            say(console, f"  {line}")
        return FAILED
    return 0
