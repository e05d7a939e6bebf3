"""raypeft study: run a study, or go on with it."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from raypeft.api import Study
from raypeft.cli.arguments import (
    DatasetsOption,
    ModelsOption,
    SettingsOption,
    StudyArgument,
    TechniquesOption,
    usable,
)
from raypeft.execution.interruption import CODE as INTERRUPTED
from raypeft.execution.interruption import Abrupt
from raypeft.output.console import echo, say, terminal
from raypeft.spec.plan import STAGES

FAILED = 3


def study(
    name: StudyArgument,
    plan: Annotated[bool, typer.Option("--plan", help="print what would be done, and do nothing")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="remove what the run folder holds and start anew")] = False,
    models: ModelsOption = None,
    datasets: DatasetsOption = None,
    techniques: TechniquesOption = None,
    samples: Annotated[int | None, typer.Option(min=1, help="trials a cell")] = None,
    settings: SettingsOption = None,
    scale: Annotated[str | None, typer.Option(help="tiny: on embedded models and data, in runs/<study>-tiny")] = None,
    out: Annotated[Path | None, typer.Option(help="run folder (default runs/<study>)")] = None,
    reuse: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="take finished cells from this run, or the runs in it; may be repeated"),
    ] = None,
    no_reuse: Annotated[bool, typer.Option("--no-reuse", help="take nothing from the runs beside this one")] = False,
    any_version: Annotated[
        bool, typer.Option("--reuse-any-version", help="take also what other versions of torch, peft, … computed")
    ] = False,
    ray_address: Annotated[str | None, typer.Option(help="join this Ray cluster")] = None,
    stage: Annotated[list[str] | None, typer.Option(help="only sweep, test, icl or report; may be repeated")] = None,
) -> None:
    """Run a study, or go on with it where it was interrupted.

    Exit codes: 0 done, 2 a mistake in what was asked, 3 done with failed cells or jobs, 130 interrupted.
    """
    asked = Study.load(
        name,
        models=models or (),
        datasets=datasets or (),
        techniques=techniques or (),
        trials=samples,
        scale=scale,
        settings=settings or (),
    )
    folder = usable(out or asked.folder, "--out")
    places = [usable(place, "--reuse") for place in reuse or ()]
    if plan:
        for line in asked.plan(folder, reuse=places, beside=not no_reuse, any_version=any_version, fresh=fresh).lines:
            echo(line)
        return
    console = terminal()
    try:
        run = asked.run(
            folder,
            fresh=fresh,
            reuse=places,
            beside=not no_reuse,
            any_version=any_version,
            stages=tuple(stage or STAGES),
            ray_address=ray_address,
            console=console,
        )
    except KeyboardInterrupt as end:
        say(console, "Interrupted. The same command goes on from here.")
        if isinstance(end, Abrupt):
            sys.stdout.flush()
            os._exit(INTERRUPTED)
        raise typer.Exit(INTERRUPTED) from None
    if run.failures:
        say(console, "Done, but not everything succeeded:")
        for line in run.failures:
            say(console, f"  {line}")
        raise typer.Exit(FAILED)
