"""Arguments that several verbs share."""

from pathlib import Path
from typing import Annotated

import typer

from raypeft.errors import UserError
from raypeft.run import Run

RUNS = Path("runs")
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="a run folder, or the name of a study run in ./runs")]


def find_run(text: str) -> Run:
    """The run that a folder holds, or that lies in `runs/` under a study's name.

    Raises:
        UserError: neither holds a run; the message lists the runs there are.
    """
    for folder in (Path(text), RUNS / text):
        if (folder / "study.yaml").is_file():
            return Run.open(folder)
    known = sorted(path.parent.name for path in RUNS.glob("*/study.yaml"))
    hint = f"Runs in ./{RUNS}: {', '.join(known)}." if known else "Start one: raypeft study NAME"
    raise UserError(f"there is no run in {text} or {RUNS / text}", hint=hint)
