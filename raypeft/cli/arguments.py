"""Arguments that several verbs share."""

import re
from pathlib import Path
from typing import Annotated

import typer

from raypeft.errors import UserError
from raypeft.output.text import one_line
from raypeft.runs.folder import Run, find_cell
from raypeft.spec.plan import Cell
from raypeft.spec.values import quoted, shortened

RUNS = Path("runs")
SHOWN, LONGEST = 10, 300  # faults of a run, and characters of one
_read: list[Run] = []  # by the command in hand, whose end says what was damaged
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="a run folder, or the name of a study run in ./runs")]
CellArgument = Annotated[
    str, typer.Argument(metavar="CELL", help="model/dataset/technique, or as many of these as tell it apart")
]
StudyArgument = Annotated[str, typer.Argument(metavar="NAME|FILE", help="a shipped study, one in ./studies, or a file")]
ModelsOption = Annotated[list[str] | None, typer.Option("--model", help="only this model; may be repeated")]
DatasetsOption = Annotated[list[str] | None, typer.Option("--dataset", help="only this data set; may be repeated")]
TechniquesOption = Annotated[list[str] | None, typer.Option("--technique", help="only this technique; may be repeated")]
SettingsOption = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="any key of the study")]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON instead")]
TrustOption = Annotated[
    bool,
    typer.Option("--trust-remote-code", help="let code run that the model brings along; read it first"),
]


def usable(path: Path, option: str) -> Path:
    """A path, whether or not there is anything.

    Raises:
        UserError: there can be nothing: it is too long, or may not be looked at.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{quoted(path)} cannot be used: {reason}", where=option) from error
    return path


def find_run(text: str) -> Run:
    """The run that a folder holds, or that lies in `runs/` under a study's name.

    What reading it finds damaged is said when the command ends.

    Raises:
        UserError: neither holds a run; the message lists the runs there are.
    """
    for folder in (Path(text), RUNS / text):
        if not (usable(folder, "RUN") / "study.yaml").is_file():
            continue
        run = Run.open(folder)
        _read.append(run)
        return run
    known = shortened(", ".join(sorted(path.parent.name for path in RUNS.glob("*/study.yaml"))), 800)
    hint = f"Runs in ./{RUNS}: {known}." if known else "Start one: raypeft study NAME"
    raise UserError(f"there is no run in {shortened(text)} or {shortened(str(RUNS / text))}", hint=hint)


def say_faults() -> None:
    """Say which files of the run that was read are damaged, apart from the output."""
    from raypeft.output.console import echo

    while _read:
        run = _read.pop()
        for line in run.faults()[:SHOWN]:
            echo(f"raypeft: {one_line(line)[:LONGEST]}", err=True)
        if any(fault.mendable for fault in run.reading.faults.values()):
            echo("What is damaged is left out. raypeft study mends it, or says what it cannot mend.", err=True)


def find_trial(run: Run, text: str) -> tuple[Cell, int]:
    """The cell and number of a trial given by its name, or as `CELL/NUMBER` with a cell as `find_cell` takes it.

    Raises:
        UserError: there is no such trial in the plan.
    """
    *parts, number = re.split("[/·]", text)
    if not number.isdecimal():
        raise UserError(
            f"{quoted(text)} names no trial",
            hint=f"Give its name, or CELL/NUMBER; raypeft trials {run.folder} lists them.",
        )
    cell = find_cell(run, "/".join(parts))
    trials = run.plan.resolved.study.search.trials
    if len(number) > 9 or int(number) >= trials:
        raise UserError(f"{cell.id} has the trials 0 to {trials - 1}, not {shortened(number)}")
    return cell, int(number)
