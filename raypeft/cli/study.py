"""raypeft study: run a study, or go on with it."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from raypeft.cli.plan import show_plan
from raypeft.errors import UserError
from raypeft.guards import check_versions
from raypeft.reuse import runs_in, siblings
from raypeft.run import Run
from raypeft.spec.plan import Plan
from raypeft.spec.resolve import ResolvedStudy, resolve

INTERRUPTED = 130
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
    if plan:
        show_plan(Plan(resolved))
        return
    check_versions()
    stages, console = _stages(stage), Console()
    folder = out or Path("runs") / resolved.name
    named = [run for place in reuse or () for run in runs_in(place)]
    _prepare(folder, resolved, console, fresh=fresh)
    sources = named if no_reuse else [*named, *siblings(folder, resolved.name)]
    raise typer.Exit(_run(resolved, folder, console, stages, ray_address, sources))


def _stages(stage: list[str] | None) -> tuple[str, ...]:
    from raypeft.pipeline import STAGES

    if unknown := set(stage or ()) - set(STAGES):
        raise UserError(f"unknown stage '{sorted(unknown)[0]}'", where="--stage", hint=f"Stages: {', '.join(STAGES)}")
    return tuple(stage) if stage else STAGES


def _prepare(folder: Path, resolved: ResolvedStudy, console: Console, *, fresh: bool) -> None:
    run = Run(folder)
    if fresh and run.study_file.exists():
        shutil.rmtree(folder)
    if not run.study_file.exists():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(
                "is not empty and holds no run", where=str(folder), hint="Choose another folder with --out."
            )
        return
    if not (run.manifest_file.exists() or run.reports_file.exists()):
        # Nothing has begun: the run was refused for its data or models.
        run.study_file.unlink()
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
    console.print(f"Going on with the run in {folder}", highlight=False, markup=False, soft_wrap=True)


def differences(old: ResolvedStudy, new: ResolvedStudy) -> list[str]:
    """Each key whose value differs, with both values."""
    before, after = _flat(old.model_dump(mode="json")), _flat(new.model_dump(mode="json"))
    return [
        f"{key.removeprefix('study.')}: was {before.get(key, 'absent')}, is {after.get(key, 'absent')}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key, "absent") != after.get(key, "absent")
    ]


def _flat(content: object, prefix: str = "") -> dict[str, object]:
    if not isinstance(content, dict):
        return {prefix: content}
    return {
        key: value
        for name, child in content.items()
        for key, value in _flat(child, f"{prefix}.{name}" if prefix else str(name)).items()
    }


def _run(
    resolved: ResolvedStudy,
    folder: Path,
    console: Console,
    stages: tuple[str, ...],
    ray_address: str | None,
    sources: Sequence[Run],
) -> int:
    from raypeft import pipeline

    try:
        failed = pipeline.study(resolved, folder, console, stages=stages, ray_address=ray_address, sources=sources)
    except KeyboardInterrupt:
        console.print("Interrupted. The same command goes on from here.", highlight=False)
        return INTERRUPTED
    if failed:
        console.print("Done, but not everything succeeded:", highlight=False)
        for line in failed:
            console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
        return FAILED
    return 0
